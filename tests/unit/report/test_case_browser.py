"""What the page of the case browser has for its script; how it behaves is in tests/workflow/test_case_browser.py."""

import base64
import json
import re

import cv2
import numpy as np

from tests import small_experiment
from thorax import cli
from thorax.explanation import overlays
from thorax.explanation.cases import load_cases
from thorax.report import case_browser

MORE = ("split", "scaling", "settings")
FILES = ("cases", "predictions", "heatmaps", "labels", "boxes", "ingested", "arrays", "lungs")


def read(page):
    return json.loads(re.search('id="data">(.*?)</script>', page.read_text())[1])


def loaded(folder):
    files = small_experiment.write(folder)
    return load_cases(**{name: files[name] for name in FILES}, ensemble=None)


def content(cases, first=0):
    return json.loads(json.dumps(case_browser.content(cases, ["one", "two"], "experts", [None] * 3, {}, first)))


def decoded(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8)


def test_a_case_has_its_picture_maps_and_answers(tmp_path):
    cases = loaded(tmp_path)
    data = content(cases, 100)
    assert (data["first"], data["boxesBy"], data["classes"]) == (100, "box drawn by experts", small_experiment.CLASSES)
    first, case = data["cases"][0], cases[0]
    assert (first["id"], first["chosenFor"], first["size"], first["seen"]) == ("y", "mass", [256, 512], [0.5, 0.25, 1, 1])
    picture = cv2.imdecode(decoded(first["picture"]), cv2.IMREAD_GRAYSCALE)
    assert picture.shape == (512, 256)
    assert np.abs(picture.astype(int) - case.original).mean() < 3
    assert [small["size"] for small in first["maps"]] == [[7, 7], [4, 4]]
    values = decoded(first["maps"][0]["values"]).reshape(3, 7, 7)
    np.testing.assert_allclose(values / 255, overlays.scale_maps(case.maps[0]), atol=1 / 255)
    assert first["probability"] == np.round([case.probabilities, *case.each], 4).tolist()
    assert first["boxes"] == [["mass", 0.6, 0.5, 0.2, 0.2]]
    assert list(first["different"]) == ["1"]


def test_every_network_has_its_own_verdicts(tmp_path):
    data = content(loaded(tmp_path))
    said = {
        case["id"]: [[data["verdicts"][number][2:] for number in of_model] for of_model in case["verdict"]]
        for case in data["cases"]
    }
    assert said["y"] == [["missed", "found", "rightly no"]] * 3
    one, two = ["rightly no", "label unknown", "rightly no"], ["false alarm", "label unknown", "rightly no"]
    assert said["z"] == [one, one, two]  # the networks say 0.047 and 0.881 of mass; their mean is below 0.5


def test_calibrated_probabilities_and_readers_of_each_case(tmp_path):
    """Log odds are 2 where a network says yes and -3 where it says no, and are scaled by `small_experiment.PLATT`."""
    files = small_experiment.write(tmp_path)
    words = ["--title", "Study", "--provenance", "phantom", "--boxes-by", "phantom", "--out", str(tmp_path / "page")]
    named = small_experiment.words(files, *FILES, *MORE)
    assert cli.main(["case-browser", *words, *named, "--mean", "CTP"]) == 0
    data = read(tmp_path / "page")
    y, w, x, z = data["cases"]
    assert y["calibrated"] == [
        [0.2689, 0.5, None],  # 1 / (1 + e^1), where -1 = 0.5 * -3 + 0.5; 2 - 2 = 0; not fitted
        [0.0759, None, 0.1192],  # 1 / (1 + e^2.5), where -2.5 = 0.5 * -3 - 1; not fitted; 1 / (1 + e^2)
        [0.0474, 0.982, 0.0474],  # 1 / (1 + e^3); 1 / (1 + e^-4)
    ]
    assert [case["readers"] for case in (y, w, x, z)] == [{"0": [3, 1], "1": [1, 2]}, {"0": [2, 2]}, {}, {}]
    assert "4 readers have read test images again" in (tmp_path / "page").read_text()
    assert cli.main(["case-browser", *words, *named[:-2]]) == 0  # without readers, and nothing is fitted to the mean
    data = read(tmp_path / "page")
    assert (data["read"], data["cases"][0]["calibrated"][0], data["cases"][0]["calibrated"][1:]) == (
        False,
        None,
        y["calibrated"][1:],
    )
    text = (tmp_path / "page").read_text()
    assert "Calibrated" in text
    assert "Readers" not in text.partition("<script")[0]


def test_the_scale_has_the_colours_of_the_figures():
    colours = decoded(content([])["colours"]).reshape(-1, 3)
    heat = np.linspace(0, 1, 256)[None]
    grey = np.full((1, 256), 100, np.uint8)
    opacity = (overlays.OPACITY * heat**overlays.GLOW_EXPONENT)[..., None]
    blended = (1 - opacity) * overlays.DIMMED * 100 / 255 + opacity * colours / 255
    np.testing.assert_allclose(blended, overlays.glow(grey, heat), atol=1 / 255)


def test_pages_are_parts_of_the_cases_and_one_without_cases_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(case_browser, "CASES_PER_PAGE", 3)
    files = small_experiment.write(tmp_path)
    found = []
    for part in ("1", "2", "3"):
        words = [
            "--title",
            "</script>",
            "--provenance",
            "phantom",
            "--boxes-by",
            "phantom",
            "--part",
            part,
            "--out",
            str(tmp_path / part),
        ]
        assert cli.main(["case-browser", *words, *small_experiment.words(files, *FILES, *MORE)]) == 0
        text = (tmp_path / part).read_text()
        assert "Run on: phantom." in text
        assert text.count("</script>") == 2
        found.append([case["id"] for case in read(tmp_path / part)["cases"]])
    assert found == [["y", "w", "x"], ["z"], []]

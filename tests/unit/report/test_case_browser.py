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

FILES = ("cases", "predictions", "heatmaps", "labels", "boxes", "ingested", "arrays", "lungs")


def loaded(folder):
    files = small_experiment.write(folder)
    return load_cases(**{name: files[name] for name in FILES}, ensemble=None)


def decoded(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8)


def test_a_case_has_its_picture_maps_and_answers(tmp_path):
    cases = loaded(tmp_path)
    data = json.loads(json.dumps(case_browser.content(cases, ["one", "two"], "experts", 100)))
    assert (data["first"], data["boxesBy"], data["classes"]) == (100, "box drawn by experts", small_experiment.CLASSES)
    first, case = data["cases"][0], cases[0]
    assert (first["id"], first["chosenFor"], first["size"], first["seen"]) == ("y", "mass", [256, 512], [0.5, 0.25, 1, 1])
    picture = cv2.imdecode(decoded(first["picture"]), cv2.IMREAD_GRAYSCALE)
    assert picture.shape == (512, 256)
    assert np.abs(picture.astype(int) - case.original).mean() < 3
    assert [small["size"] for small in first["maps"]] == [[7, 7], [4, 4]]
    values = decoded(first["maps"][0]["values"]).reshape(3, 7, 7)
    np.testing.assert_allclose(values / 255, overlays.scale_maps(case.maps[0]), atol=1 / 255)
    assert first["each"] == np.round(case.each, 4).tolist()
    assert [data["verdicts"][number][2:] for number in first["verdict"]] == ["missed", "found", "rightly no"]
    assert first["boxes"] == [["mass", 0.6, 0.5, 0.2, 0.2]]
    assert list(first["different"]) == ["1"]


def test_the_scale_has_the_colours_of_the_figures():
    colours = decoded(case_browser.content([], [], "experts")["colours"]).reshape(-1, 3)
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
        assert cli.main(["case-browser", *words, *small_experiment.words(files, *FILES)]) == 0
        text = (tmp_path / part).read_text()
        assert "Run on: phantom." in text
        assert text.count("</script>") == 2
        data = json.loads(re.search('id="data">(.*?)</script>', text)[1])
        found.append([case["id"] for case in data["cases"]])
    assert found == [["y", "w", "x"], ["z"], []]

"""The case browser in a real Chromium: keys, filters, maps, fading, zoom, and that everyone can use it."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest

from tests import small_experiment
from thorax import cli
from thorax.explanation.cases import load_cases
from thorax.explanation.overlays import glow

from . import browser

MORE = ("split", "scaling", "settings")
FILES = ("cases", "predictions", "heatmaps", "labels", "boxes", "ingested", "arrays", "lungs")
# The colour of the canvas at shares of the radiograph's width and height, where all of it is shown
COLOURS = """((places) => {
  const picture = document.querySelector("#picture"), pen = picture.getContext("2d"), [wide, high] = current.size;
  const scale = Math.min(picture.width / wide, picture.height / high);
  const at = ([x, y]) => [picture.width / 2 + (x - 0.5) * wide * scale, picture.height / 2 + (y - 0.5) * high * scale];
  return JSON.stringify(places.map(at).map(([x, y]) => [...pen.getImageData(x, y, 1, 1).data.slice(0, 3)]));
})"""


class Person:
    """What a person does with the page, and sees on it."""

    def __init__(self, page: browser.Browser) -> None:
        self.page = page

    def press(self, key: str, **more: int) -> None:
        text = {"text": key} if len(key) == 1 else {}
        self.page.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text, **more)
        self.page.call("Input.dispatchKeyEvent", type="keyUp", key=key, **more)

    def heading(self) -> str:
        self.page.wait_until("current === data.cases[fitting[state.place]] || !fitting.length")
        return self.page.evaluate("document.querySelector('#heading').innerText")

    def choose(self, field: str, value: object) -> str:
        change = f"{{const field = document.querySelector('#{field}'); field.value = {json.dumps(value)};"
        self.page.evaluate(f"{change} field.dispatchEvent(new Event(field.type === 'range' ? 'input' : 'change'))}}")
        return self.heading()

    def colours(self, *places: tuple[float, float]) -> np.ndarray:
        return np.array(json.loads(self.page.evaluate(f"{COLOURS}({json.dumps(places)})")), int)

    def text(self, field: str) -> str:
        return self.page.evaluate(f"document.querySelector('#{field}').innerText")

    def label(self) -> str:
        return self.page.evaluate("document.querySelector('#picture').getAttribute('aria-label')")


@pytest.fixture
def cases(tmp_path):
    browser.require()
    files = small_experiment.write(tmp_path)
    words = ["--title", "Study", "--provenance", "phantom", "--boxes-by", "phantom", "--out", str(tmp_path / "cases-1.html")]
    assert cli.main(["case-browser", *words, "--mean", "CTP", *small_experiment.words(files, *FILES, *MORE)]) == 0
    return tmp_path, load_cases(**{name: files[name] for name in FILES}, ensemble=None)


def test_a_person_looks_at_cases(cases):
    folder, loaded = cases
    assert not browser.too_long(folder)
    with browser.chromium() as page:
        assert browser.look_at(page, folder / "cases-1.html", 1440)["too_wide"] <= 0
        person = Person(page)
        pages_and_filters(person)
        models_and_readers(person)
        maps_and_fading(person, loaded)
        place_and_window(person)
        fingers_and_focus(person)
        for width in (1440, 390):
            assert browser.look_at(page, None, width)["too_wide"] <= 0
            assert not browser.faults(page, "light", "dark")
        person.press("?")
        assert page.evaluate("document.querySelector('#keys').open")
        assert not browser.faults(page, "light", "dark")
        assert not page.complaints()


def pages_and_filters(person: Person) -> None:
    assert person.heading() == "Case 1: y, chosen for mass (1 of 4)"
    person.press("ArrowRight")
    assert person.heading() == "Case 2: w, chosen for mass (2 of 4)"
    person.press("n")
    assert person.heading().startswith("Case 3: x")
    person.press("p")
    person.press("ArrowLeft")
    person.press("ArrowLeft")
    assert person.heading().startswith("Case 4: z")  # before the first comes the last
    found = {name: person.choose("answer", name) for name in ("found", "missed", "false alarm", "disagree", "different")}
    assert {name: f"{heading[5:9]}, {heading[-8:]}" for name, heading in found.items()} == {
        "found": "1: y, (1 of 2)", "missed": "1: y, (1 of 1)", "false alarm": "3: x, (1 of 1)", "disagree": "4: z, (1 of 1)",
        "different": "1: y, (1 of 2)",
    }  # fmt: skip
    assert person.choose("wanted", "2") == "No case fits this filter"
    assert [person.text(field) for field in ("answered", "answers")] == ["", ""]  # nothing of the last case is left
    person.choose("answer", "")
    assert person.heading() == "No case fits this filter"  # hernia is neither in the labels nor predicted
    assert person.choose("wanted", "") == "Case 1: y, chosen for mass (1 of 4)"
    rows = person.text("answers").split("\n")
    assert rows[0].split("\t") == ["nodule", "0.881", "0.500", "0.881 to 0.881", "2 of 2", "yes", "2 of 3: no", "\u2713 found"]
    assert rows[2].split("\t") == ["hernia", "0.047", "\u2013", "0.047 to 0.047", "0 of 2", "no", "", "\u2713 rightly no"]


def models_and_readers(person: Person) -> None:
    """What is said of the class next to the picture, of the mean and of each network."""
    person.choose("wanted", "")
    mean = "mean of 2 networks: probability 0.047, calibrated 0.269"
    assert person.text("answered") == f"mass, {mean}. Archive: yes, \u2717 missed. 3 of 4 readers: yes."
    person.choose("map", "deviation")
    assert person.text("answered").startswith(f"mass, {mean}.")
    person.choose("map", "0")
    assert person.text("answered").startswith("mass, one: probability 0.047, calibrated 0.076. Archive: yes")
    assert person.text("whose") == "Probability and answer: one"
    person.choose("class", "1")
    said = "nodule, one: probability 0.881, not calibrated. Archive: yes, \u2713 found. 2 of 3 readers: no."
    assert person.text("answered") == said
    person.press("n")
    assert "2 of 4 readers: tie." in person.text("answered")
    person.press("n")
    person.press("n")
    assert person.heading().startswith("Case 4: z")
    said = "hernia, one: probability 0.047, calibrated 0.119. Archive: no, \u2713 rightly no."
    assert person.text("answered") == said
    person.choose("class", "0")
    person.choose("map", "1")
    said = "mass, two: probability 0.881, calibrated 0.881. Archive: no, \u25b2 false alarm."
    assert person.text("answered") == said
    person.choose("map", "mean")
    person.choose("wanted", "")


def maps_and_fading(person: Person, loaded: list) -> None:
    hot, warm, cold = (
        (0.52, 0.28),
        (0.57, 0.28),
        (0.2, 0.8),
    )  # in the upper left cell of the crop, next to it, and outside the crop
    first = loaded[0]

    def drawn(heat: np.ndarray) -> np.ndarray:
        rows, columns = heat.shape
        places = [(int(y * rows), int(x * columns)) for x, y in (hot, warm, cold)]
        return np.array([255 * glow(first.original, heat)[place] for place in places])

    person.press("b")  # without boxes
    np.testing.assert_allclose(person.colours(hot, warm, cold), drawn(first.heat(0)[0]), atol=8)
    assert "mass, mean of 2 networks: hottest at 5" in person.label()
    person.press("o")
    plain = [first.original[int(y * 512), int(x * 256)] for x, y in (hot, cold)]
    np.testing.assert_allclose(person.colours(hot, cold), np.repeat(np.array(plain)[:, None], 3, axis=1), atol=4)
    person.press("o")
    person.choose("fade", "50")
    faded = person.colours(hot)[0]
    assert plain[0] < faded[0] < drawn(first.heat(0)[0])[0][0]
    person.choose("fade", "100")
    person.choose("class", "1")
    np.testing.assert_allclose(person.colours(hot, warm, cold), drawn(first.heat(1)[0]), atol=8)
    assert person.text("said").startswith("Orange dashes: part that the networks saw. The networks look at different")
    person.press("m")
    red, green, blue = person.colours(hot)[0]
    assert blue > green > red  # the disagreement is blue
    assert "standard deviation 0.5" in person.text("scale")
    person.press("m")
    assert "nodule, one: hottest" in person.label()
    assert person.text("said") == "Orange dashes: part that the networks saw."
    person.choose("class", "2")
    assert person.text("said").startswith("This map does not vary, so it shows no place.")
    person.press("m")
    assert person.text("said").startswith("This map has fewer than 25 cells: too coarse to locate anything.")
    person.choose("map", "mean")


def place_and_window(person: Person) -> None:
    state = lambda name: person.page.evaluate(f"state.{name}")
    person.press("+")
    person.press("+")
    assert state("zoom") == pytest.approx(1.25**2)
    person.press("ArrowRight", modifiers=8)
    assert state("x") > 0.5
    before = state("x")
    frame = json.loads(person.page.evaluate("JSON.stringify(document.querySelector('#picture').getBoundingClientRect())"))
    x, y = frame["x"] + 100, frame["y"] + 100
    mouse = lambda kind, dx, **more: person.page.call("Input.dispatchMouseEvent", type=kind, x=x + dx, y=y, **more)
    mouse("mouseWheel", 0, deltaX=0, deltaY=-100)
    person.page.wait_until(f"state.zoom > {1.25**2}")
    for modifiers in (0, 8):
        mouse("mousePressed", 0, button="left", clickCount=1, modifiers=modifiers)
        mouse("mouseMoved", -40, button="left", modifiers=modifiers)
        mouse("mouseReleased", -40, button="left", clickCount=1, modifiers=modifiers)
    assert state("x") != before
    assert state("window") == pytest.approx(235, abs=0.1)  # the canvas has a whole number of pixels
    person.press("l")
    assert state("level") == 118
    person.press("0")
    assert [state(name) for name in ("zoom", "x", "window", "level")] == [1, 0.5, 255, 128]


def fingers_and_focus(person: Person) -> None:
    """Two fingers zoom, one moves; a control that has the focus keeps its own keys; letters can be switched off."""
    page, state = person.page, lambda name: person.page.evaluate(f"state.{name}")
    frame = json.loads(page.evaluate("JSON.stringify(document.querySelector('#picture').getBoundingClientRect())"))
    point = lambda x, y: {"x": frame["x"] + x, "y": frame["y"] + y}
    touch = lambda kind, *points: page.call("Input.dispatchTouchEvent", type=kind, touchPoints=list(points))
    touch("touchStart", point(100, 100), point(200, 100))
    touch("touchMove", point(50, 100), point(250, 100))
    touch("touchEnd")
    page.wait_until("state.zoom > 1.5")
    before = state("x")
    touch("touchStart", point(200, 100))
    touch("touchMove", point(150, 100))
    touch("touchEnd")
    page.wait_until(f"state.x > {before}")
    person.press("0")
    heading = person.heading()
    page.evaluate("document.querySelector('#fade').focus()")
    person.press("ArrowLeft")
    assert person.heading() == heading
    page.evaluate("document.activeElement.blur(); document.querySelector('#single').checked = false")
    person.press("n")
    assert person.heading() == heading
    person.press("ArrowRight")
    assert person.heading() != heading
    page.evaluate("document.querySelector('#single').checked = true")


def test_predictions_are_looked_at_on_the_same_page(tmp_path):
    from tests.unit.bundles import predictable

    browser.require()
    predictable.write(tmp_path / "model.zip")
    for seed in range(2):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), predictable.radiograph(seed))
    images = [str(tmp_path / f"{seed}.png") for seed in range(2)]
    arguments = [*images, "--page", str(tmp_path / "page.html"), "--out", str(tmp_path / "t.csv"), "--threads", "1"]
    assert cli.main(["predict", str(tmp_path / "model.zip"), *arguments]) == 0
    table = pd.read_csv(tmp_path / "t.csv")
    of_first = table[table["path"] == images[0]]
    decided = of_first[of_first["decision"] == "yes"] if (of_first["decision"] == "yes").any() else of_first
    best = decided.sort_values("probability")["class"].iloc[-1]
    with browser.chromium() as page:
        browser.look_at(page, tmp_path / "page.html", 1440)
        person = Person(page)
        assert person.heading() == f"Case 1: {images[0]}, most probable: {best} (1 of 2)"
        assert len(set(map(tuple, person.colours((0.2, 0.3), (0.5, 0.5), (0.8, 0.9))))) == 3
        assert "Archive: not known" in person.text("answered")
        person.press("n")
        assert person.heading().startswith(f"Case 2: {images[1]}, ")
        assert not page.complaints()

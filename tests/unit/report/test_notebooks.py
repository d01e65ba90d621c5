"""Notebooks: parameters, what a run writes, and what the site shows of it."""

import ast
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from thorax.errors import ThoraxError
from thorax.report import notebooks
from thorax.report.figures import style
from thorax.storage import store

NOTEBOOKS = sorted((Path(__file__).parents[3] / "notebooks").glob("*.ipynb"))
HISTORY = "epoch,loss,val_loss,learning_rate,val_auc\n1,0.5,0.4,0.1,0.6\n2,0.4,0.3,0.1,0.7\n"


def written(path: Path, *cells: tuple[str, str, list[str]]) -> Path:
    """A notebook with cells of (type, source, tags)."""
    made = [
        {"cell_type": kind, "id": f"c{number}", "metadata": {"tags": tags}, "source": source}
        | ({"outputs": [], "execution_count": None} if kind == "code" else {})
        for number, (kind, source, tags) in enumerate(cells)
    ]
    about = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": made, "metadata": about, "nbformat": 4, "nbformat_minor": 5}))
    return path


def losses(folder: Path, monkeypatch) -> tuple[Path, str]:
    """The notebook of the losses, and the parameters of a figure in the current folder."""
    monkeypatch.chdir(folder)
    (folder / "h.csv").write_text(HISTORY)
    told = {"draw": ["training"], "title": "Losses <of> one", "histories": {"m": "h.csv"}, "out": "figures/training"}
    return next(path for path in NOTEBOOKS if path.stem == "models"), json.dumps(told)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_says_what_it_shows_and_has_parameters_with_comments(path):
    text, parameters, *others = notebooks.read(path)
    assert (text["cell_type"], text["source"].splitlines()[0]) == ("markdown", f"# {path.stem.capitalize()}")
    assert parameters["metadata"]["tags"] == ["parameters"]
    values = notebooks.defaults(path)
    lines = [line for line in parameters["source"].splitlines() if line]
    assert len(lines) == len(values) > 4
    assert not [line for line in lines if not re.match(r"\w+ = .+  # \S", line)]
    figures = [cell for cell in others if cell["metadata"].get("tags") == ["figure"]]
    named = [re.match(r'if "(\w+)" in draw:\n', cell["source"])[1] for cell in figures]
    assert all(f"`{name}`" in text["source"] and f'"{name}"' in lines[0] for name in named)
    read = {node.id for node in ast.walk(notebooks.code(path)) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert set(values) <= read, "a parameter that no cell uses"
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in others)


def test_a_run_writes_the_figure_and_a_notebook_without_times(tmp_path, monkeypatch):
    notebook, parameters = losses(tmp_path, monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for out in ("first.ipynb", "second.ipynb"):
        notebooks.render(notebook, parameters, tmp_path / out)
    assert not (tmp_path / "home").exists()
    assert {path.suffix for path in (tmp_path / "figures").iterdir()} == {".png", ".svg", ".html"}
    first, second = ((tmp_path / f"{name}.ipynb").read_text() for name in ("first", "second"))
    assert first == second
    assert not re.search(r"20\d\d-\d\d-\d\d|duration", first)
    injected = next(cell for cell in notebooks.read("first.ipynb") if cell["id"] == "injected-parameters")
    assert 'title = "Losses <of> one"' in injected["source"]


def test_the_page_of_a_run_has_the_cells_that_drew(tmp_path, monkeypatch):
    notebook, parameters = losses(tmp_path, monkeypatch)
    notebooks.render(notebook, parameters, tmp_path / "done.ipynb")
    page = notebooks.content(tmp_path / "done.ipynb")
    assert "<code>training</code>" in page  # Markdown
    assert "title = &#34;Losses &lt;of&gt; one&#34;" in page
    assert "training_curves(histories, title)" in page
    assert "epoch_curves(epochs" not in page
    ((alt, picture),) = re.findall(r'<img alt="([^"]+)" src="data:image/webp;base64,([^"]+)">', page)
    assert alt == "Loss and validation AUC by epoch of 1 network; smallest validation loss 0.300 (m)"
    shown = cv2.imdecode(np.frombuffer(notebooks.base64.b64decode(picture), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == style.pixels(style_figure(), notebooks.SHOWN_DPI).shape


def style_figure():
    from thorax.report.figures.training import training_curves

    return training_curves({"m": "h.csv"}, "Losses <of> one")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"titel": ""}, r"models\.ipynb has no parameter 'titel'"),
        ({"histories": {"m": "gone.csv"}}, r"^gone\.csv "),
    ],
)
def test_errors_are_those_of_the_cells(tmp_path, monkeypatch, changed, message):
    notebook, parameters = losses(tmp_path, monkeypatch)
    with pytest.raises(ThoraxError, match=message):
        notebooks.render(notebook, json.dumps(json.loads(parameters) | changed), tmp_path / "done.ipynb")
    assert not (tmp_path / "done.ipynb").exists()


def test_what_cells_print_show_and_raise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = [("code", "x = 0  # a number", ["parameters"]), ("code", "print('a <b>')\nx", []), ("markdown", "**end**", [])]
    notebooks.render(written(tmp_path / "n.ipynb", *cells), "x: 3", tmp_path / "done.ipynb")
    shown = notebooks.read("done.ipynb")[2]["outputs"]
    assert [output.get("text", output.get("data")) for output in shown] == [["a <b>\n"], {"text/plain": ["3"]}]
    page = notebooks.content(tmp_path / "done.ipynb")
    assert '<pre tabindex="0">a &lt;b&gt;\n</pre>\n<pre tabindex="0">3</pre>' in page
    assert "<strong>end</strong>" in page
    broken = written(tmp_path / "n.ipynb", cells[0], ("code", "1 / x", []), ("code", "open('after', 'w')", []))
    with pytest.raises(ZeroDivisionError):
        notebooks.render(broken, "x: 0", tmp_path / "done.ipynb")
    assert not Path("after").exists()


def test_a_file_that_is_not_a_notebook_is_named(tmp_path):
    store.write_text("{}", tmp_path / "n.ipynb")
    with pytest.raises(ThoraxError, match=r"n\.ipynb is not a readable notebook .*: restore it"):
        notebooks.defaults(tmp_path / "n.ipynb")
    written(tmp_path / "n.ipynb", ("code", "x = 2 * y", ["parameters"]))
    with pytest.raises(ThoraxError, match=r"n\.ipynb: the parameter 'x' is computed: write its value in the first cell"):
        notebooks.defaults(tmp_path / "n.ipynb")
    written(tmp_path / "n.ipynb", ("code", "x = (", ["parameters"]))
    with pytest.raises(ThoraxError, match=r"n\.ipynb is not a readable notebook"):
        notebooks.defaults(tmp_path / "n.ipynb")


def test_long_parameters_have_a_line_for_each_entry_and_keep_their_values(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = {"files": {f"m{n}": f"results/é {n}.npy" for n in range(9)}, "names": ['a "b"\n'] * 20, "few": [1, None]}
    notebook = written(tmp_path / "n.ipynb", ("code", "files = {}\nnames = []\nfew = []", ["parameters"]))
    notebooks.render(notebook, json.dumps(values), tmp_path / "done.ipynb")
    source = notebooks.read("done.ipynb")[1]["source"]
    found: dict = {}
    exec(source, found)
    assert {name: found[name] for name in values} == values
    assert source.splitlines()[1:3] == ["files = {", '    "m0": "results/\\xe9 0.npy",']
    assert source.splitlines()[-1] == "few = [1, None]"

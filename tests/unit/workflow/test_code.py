"""Digests of code: blind to comments and docstrings, sensitive to everything that a verb can reach, and to nothing else."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from thorax.errors import ThoraxError
from thorax.workflow import code

REPOSITORY = Path(__file__).parents[3]
SOURCE = REPOSITORY / "src" / "thorax"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package, read anew by each call of the function that it yields."""
    copy = Path(shutil.copytree(SOURCE, tmp_path / "thorax", ignore=shutil.ignore_patterns("__pycache__")))
    monkeypatch.setattr(code, "PACKAGE", copy)

    def digests(*verbs: str) -> dict[str, str]:
        for name in ("digest", "_content", "_next", "_module", "_file", "_verbs", "notebook_digest"):
            getattr(code, name).cache_clear()
        return {verb: code.digest(verb) for verb in verbs or code._verbs()}

    yield copy, digests
    monkeypatch.undo()
    digests("split")  # the caches hold the real package again


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) >= 1, (path, old)
    path.write_text(text.replace(old, new, 1))


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {verb for verb in before if before[verb] != after[verb]}


def test_comments_docstrings_and_layout_change_no_digest(package):
    folder, digests = package
    before = digests()
    for path in folder.rglob("*.py"):
        text = path.read_text()
        path.write_text(re.sub(r'^(    )?"""', r'\1"""Edited. ', text, count=1, flags=re.MULTILINE) + "\n\n\n# a remark\n")
    assert digests() == before


def test_a_module_that_moves_changes_no_digest(package):
    folder, digests = package
    before = digests()
    (folder / "lungs").mkdir()
    (folder / "lungs" / "__init__.py").touch()
    (folder / "masks.py").rename(folder / "lungs" / "repair.py")
    called = "|".join(re.findall(r"^def (\w+)", (folder / "lungs" / "repair.py").read_text(), re.MULTILINE))
    for path in folder.rglob("*.py"):
        text = path.read_text().replace("thorax.masks import", "thorax.lungs.repair import")
        text = re.sub(r"^(from thorax import .*)\bmasks, ", r"from thorax.lungs import repair\n\1", text, flags=re.MULTILINE)
        path.write_text(re.sub(rf"\bmasks\.({called})\b", r"repair.\1", text))
    assert digests() == before


def test_a_changed_constant_changes_what_it_feeds(package):
    folder, digests = package
    before = digests()
    edit(folder / "stratify.py", "_ROUNDS = ", "_ROUNDS = 1 + ")
    assert changed(before, digests()) == {"split", "compare-splitters", "ensemble"}  # which cross-fits in folds by patient


def test_a_change_deep_below_a_verb_is_seen_and_one_beside_it_is_not(package):
    folder, digests = package
    before = digests()
    edit(folder / "augment.py", "\n\n\ndef ", "\n\n\ndef unused() -> int:\n    return 1\n\n\ndef ")
    assert changed(before, digests()) == set()
    edit(folder / "config.py", "class Augmentation(Block):", "class Augmentation(Block):\n    twice = 2\n")
    seen = changed(before, digests())
    assert "train" in seen
    assert not seen & {"split", "labels", "ingest", "metrics", "tables", "predict"}


def test_a_statement_that_runs_at_import_counts_for_all_who_import_it(package):
    folder, digests = package
    before = digests()
    with (folder / "store.py").open("a") as file:
        file.write("\nprint('hello')\n")
    seen = changed(before, digests())
    assert {"train", "split", "tables", "catalog"} <= seen
    assert "show" not in seen


def test_a_module_that_is_passed_as_a_value_counts_as_a_whole(package):
    folder, digests = package
    before = digests()
    edit(folder / "datasets" / "nih.py", "HOW_TO_GET = (", "HOW_TO_GET = ('x'")
    assert "catalog" in changed(before, digests())


def test_a_data_file_counts_for_those_who_name_it(package):
    folder, digests = package
    before = digests()
    with (folder / "resources" / "padchest_terms.csv").open("a") as file:
        file.write("x,y\n")
    seen = changed(before, digests())
    assert {"labels", "figure-terms"} <= seen
    assert not seen & {"train", "split", "ingest"}


def test_the_published_numbers_count_for_the_tables_that_show_them(package):
    folder, digests = package
    before = digests()
    edit(folder / "resources" / "published" / "liz2022.csv", ",0.589,", ",0.588,")
    seen = changed(before, digests())
    assert {"beside", "ablation", "statements", "systems"} <= seen
    assert not seen & {"train", "split", "labels", "metrics"}


def test_a_notebook_is_its_code_and_what_it_calls(package, tmp_path):
    folder, digests = package
    notebook = Path(shutil.copy(REPOSITORY / "notebooks" / "heatmaps.ipynb", tmp_path))

    def now():
        digests("split")
        return code.notebook_digest(notebook)

    before = now()
    edit(notebook, '"cell_type": "markdown"', '"cell_type":  "markdown"')
    edit(folder / "ensemble.py", '"""', '"""Edited. ')
    assert now() == before
    edit(folder / "overlays.py", "\nimport ", "\nprint(1)\nimport ")
    assert now() != before
    notebook.write_text("{}")
    with pytest.raises(ThoraxError, match="is not a readable notebook"):
        now()


def test_an_unknown_verb_is_refused():
    with pytest.raises(ThoraxError, match="no verb 'trian'"):
        code.digest("trian")


def test_the_digest_is_that_of_every_python(tmp_path):
    """Another interpreter of the same source agrees, and the caches of this process do not decide."""
    script = "from thorax.workflow import code; print(code.digest('train'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == code.digest("train")


def test_every_rule_that_computes_names_its_own_verb():
    """Downloads apart: what they fetch has checksums, and is not fetched again because our code changed."""
    rules = []
    for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"):
        rules += re.split(r"^(?=rule )", path.read_text(), flags=re.MULTILINE)[1:]
    named = 0
    for rule in rules:
        verb = re.search(r'^ +"thorax ([a-z-]+) ', rule, re.MULTILINE)
        if verb and verb[1] != "download":
            assert f'code=code("{verb[1]}")' in rule, rule
            named += 1
        elif "papermill" in rule:
            assert "notebook_digest(input.notebook)" in rule
    assert named >= 25

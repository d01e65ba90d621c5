"""Digests of code: blind to comments and docstrings, sensitive to everything that a verb can reach, and to nothing else."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from thorax.errors import ThoraxError
from thorax.verbs import VERBS
from thorax.workflow import code
from thorax.workflow.code import Code

REPOSITORY = Path(__file__).parents[3]
SOURCE = REPOSITORY / "src" / "thorax"

# A package with one of each: a constant, a class, a re-export, a module as a value, loose statements, names of data files
MADE = {
    "__init__.py": '"""The package."""\n',
    "split.py": "from thorax import parts\nfrom thorax.tools import ROUNDS, store\n\n\n"
    'def split(parts):\n    """Split."""\n    return [store.save(part) for part in parts] * ROUNDS\n\n\ndef halves():\n    return parts.two()\n',
    "parts.py": "def two():\n    return 2\n\n\ndef three():\n    return 3\n",
    "tools/__init__.py": "from thorax.tools.numbers import ROUNDS\n",
    "tools/numbers.py": "ROUNDS = 3\nOTHER = 4\n",
    "tools/store.py": "import os\n\n\ndef save(part):\n    return os.fspath(part)\n\n\nclass Unused:\n    twice = 2\n",
    "all_parts.py": "from thorax import parts\n\n\ndef every():\n    return vars(parts)\n",
    "terms.py": "from pathlib import Path\n\n\ndef terms():\n    return Path('terms.csv')\n\n\ndef tables():\n    return Path().glob('*.csv')\n",
    "types.py": "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from thorax.parts import two\n\n\ndef typed(two):\n    return two\n",
    "lazy.py": "def late():\n    from thorax.parts import two\n\n    return two()\n",
    "resources/terms.csv": "a,b\n",
}


@pytest.fixture
def made(tmp_path):
    """A small package in a folder of its own."""
    for name, text in MADE.items():
        path = tmp_path / "thorax" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return tmp_path / "thorax"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, (path, old)
    path.write_text(text.replace(old, new, 1))


def digests(folder: Path, *roots: str) -> dict[str, str]:
    return {root: Code(folder).of([tuple(f"thorax.{root}".split(":"))]) for root in roots}


ROOTS = ("split:split", "split:halves", "all_parts:every", "terms:terms", "terms:tables", "types:typed", "lazy:late")


@pytest.mark.parametrize(
    ("file", "old", "new", "seen"),
    [
        ("split.py", '"""Split."""', '"""Split the parts."""  # by rounds', set()),
        ("tools/numbers.py", "ROUNDS = 3", "ROUNDS = 5", {"split:split"}),
        ("tools/numbers.py", "OTHER = 4", "OTHER = 5", set()),
        ("tools/store.py", "twice = 2", "twice = 3", set()),
        ("tools/store.py", "os.fspath(part)", "str(part)", {"split:split"}),
        (
            "parts.py",
            "return 2",
            "return 1 + 1",
            {"split:halves", "all_parts:every", "lazy:late"},
        ),  # `parts` of split is a variable
        ("parts.py", "return 3", "return 4", {"all_parts:every"}),
        ("tools/store.py", "import os", "import os\n\nprint('hello')", {"split:split"}),  # runs at import
        ("split.py", "from thorax import parts", "from thorax import parts\n\nprint('hello')", {"split:split", "split:halves"}),
        ("resources/terms.csv", "a,b", "a,c", {"terms:terms", "terms:tables"}),
        ("lazy.py", "thorax.parts import two", "thorax.parts import three as two", {"lazy:late"}),
    ],
)
def test_what_an_edit_changes(made, file, old, new, seen):
    before = digests(made, *ROOTS)
    edit(made / file, old, new)
    after = digests(made, *ROOTS)
    assert {root for root in ROOTS if before[root] != after[root]} == seen


def test_a_module_that_moves_changes_no_digest(made):
    before = digests(made, *ROOTS)
    (made / "inner").mkdir()
    (made / "inner" / "__init__.py").touch()
    (made / "parts.py").rename(made / "inner" / "pieces.py")
    for path in made.rglob("*.py"):
        text = path.read_text().replace("from thorax import parts", "from thorax.inner import pieces")
        text = text.replace("thorax.parts import", "thorax.inner.pieces import").replace("parts.two()", "pieces.two()")
        path.write_text(text.replace("vars(parts)", "vars(pieces)"))
    assert digests(made, *ROOTS) == before


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the real package with other docstrings and comments; tests that edit it further put it right again."""
    folder = tmp_path_factory.mktemp("copy") / "thorax"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.rglob("*.py"):
        text = path.read_text()
        path.write_text(re.sub(r'^(    )?"""', r'\1"""Edited. ', text, count=1, flags=re.MULTILINE) + "\n\n\n# a remark\n")
    return folder


def changed(folder: Path, verbs=VERBS) -> set[str]:
    """The verbs whose digest in a copy is not that of the package."""
    here = Code(folder)
    return {verb for verb in verbs if here.of_verb(verb) != code.digest(verb)}


def test_a_constant_changes_the_verbs_that_it_feeds_and_docstrings_change_none(copy):
    path = copy / "labels" / "stratify.py"
    edit(path, "_ROUNDS = ", "_ROUNDS = 1 + ")
    assert changed(copy) == {"split", "compare-splitters", "ensemble"}  # ensembles cross-fit in folds by patient
    edit(path, "_ROUNDS = 1 + ", "_ROUNDS = ")


def test_settings_and_published_numbers_change_the_verbs_that_read_them(copy):
    verbs = {"segmenter", "lungs", "images", "beside", "systems"}
    for path, old, new, seen in [
        ("config/data.py", "class Segmenter(Block):", "class Segmenter(Block):\n    twice = 2\n", {"segmenter", "lungs"}),
        ("resources/published/liz2022.csv", ",0.589,", ",0.588,", {"beside", "systems"}),
    ]:
        edit(copy / path, old, new)
        assert changed(copy, verbs) == seen
        edit(copy / path, new, old)


def test_a_notebook_is_its_code_and_what_it_calls(copy, tmp_path):
    notebook = Path(shutil.copy(REPOSITORY / "notebooks" / "explanation.ipynb", tmp_path))
    before = Code(copy).of_notebook(notebook)
    edit(notebook, '"cell_type": "markdown"', '"cell_type":  "markdown"')
    edit(copy / "evaluation" / "ensembles.py", '"""', '"""Edited. ')
    assert Code(copy).of_notebook(notebook) == before
    path = copy / "report" / "figures" / "heatmaps.py"
    edit(path, "\nimport ", "\nprint(1)\nimport ")
    assert Code(copy).of_notebook(notebook) != before
    edit(path, "\nprint(1)", "")
    notebook.write_text("{}")
    with pytest.raises(ThoraxError, match="is not a readable notebook"):
        code.notebook_digest(notebook)


def test_an_unknown_verb_is_refused():
    with pytest.raises(ThoraxError, match=r"no verb 'trian' \(did you mean 'train'\?\)"):
        code.digest("trian")


def test_the_digest_is_that_of_every_python():
    """Another interpreter of the same source agrees: the order of sets and what this process has read do not decide."""
    script = "from thorax.workflow import code; print(code.digest('split'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == code.digest("split")

"""Notebooks: papermill runs them with the parameters of a figure, their cells show figures, and the site has a page of each."""

import ast
import base64
import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from thorax.config import strict_yaml
from thorax.errors import ThoraxError
from thorax.storage import store

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

SHOWN_DPI = 100  # of the pictures in an executed notebook; the figure's own files are finer
DRAWS = "figure"  # tag of a cell that draws one figure, if it is asked to
_PICTURES = ("image/png", "image/jpeg")
NOT_DESCRIBED = "The figure that this cell drew"
LONGEST_LINE = 100  # letters of a value of the parameters; entries of longer ones have a line each
INJECTED = "injected-parameters"  # papermill's tag of the cell that sets the parameters


def show(figure: "Figure", out: Path | str, title: str, photos: bool = False) -> None:
    """Write a figure, as `style.save` does, and show it below the cell."""
    from thorax.report.figures import style

    show_only(style.save(figure, Path(out), title, photos), photos, str(figure.get_label()))


def show_only(printed: "np.ndarray", photos: bool = False, seen: str = "") -> None:
    """Show the pixels (h, w, 3) of a printed figure below the cell, as JPEG, which is smaller, if it has radiographs.

    `seen` says what the figure shows, for those who do not see it.
    """
    import cv2
    from IPython.display import Image, display

    from thorax.report.figures import style

    height, width = (side * SHOWN_DPI // style.DPI for side in printed.shape[:2])
    picture = cv2.resize(printed, (width, height), interpolation=cv2.INTER_AREA)
    encoded = style.encoded(picture, "JPEG", quality=95) if photos else style.encoded(picture, "PNG")
    display(Image(encoded, alt=seen or NOT_DESCRIBED))


def read(notebook: Path | str) -> list[dict[str, Any]]:
    """The cells of a notebook, as in its JSON; `source` is one text."""
    try:
        cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
        return [{**cell, "source": "".join(cell["source"])} for cell in cells]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ThoraxError(f"{notebook} is not a readable notebook ({error}): restore it.") from error


def code(notebook: Path | str, tag: str | None = None) -> ast.Module:
    """The syntax of a notebook's code cells (those with a tag, if it is given), without IPython's own commands."""
    cells = [cell for cell in read(notebook) if cell["cell_type"] == "code" and tag in (None, *_tags(cell))]
    lines = "\n".join(cell["source"] for cell in cells).splitlines()
    try:
        return ast.parse("\n".join(line for line in lines if not line.startswith(("%", "!"))))
    except SyntaxError as error:
        raise ThoraxError(f"{notebook} is not a readable notebook ({error}): restore it.") from error


def defaults(notebook: Path | str) -> dict[str, Any]:
    """The parameters of a notebook and their values in its cell tagged `parameters`."""
    assigned = [node for node in code(notebook, "parameters").body if isinstance(node, ast.Assign)]
    named = {target.id: node.value for node in assigned for target in node.targets if isinstance(target, ast.Name)}
    found = {}
    for name, value in named.items():
        try:
            found[name] = ast.literal_eval(value)
        except ValueError as error:
            raise ThoraxError(f"{notebook}: the parameter {name!r} is computed: write its value in the first cell.") from error
    return found


def _tags(cell: dict[str, Any]) -> list[str]:
    return cell.get("metadata", {}).get("tags", [])


def render(notebook: Path, parameters: str, out: Path) -> None:
    """Run a notebook with papermill, and write it with its outputs to `out`.

    The cells run in this process and not in a kernel: that takes half of the time, and an error of a cell is reported like that of
    any verb. Nothing that differs from run to run, such as the time, is written.

    Args:
        notebook: Notebook with a cell tagged `parameters`.
        parameters: YAML with the values of parameters by name.
        out: Executed notebook to write.

    Raises:
        ThoraxError: the notebook cannot be read, has no such parameter, or one of its cells says so.
    """
    import nbformat
    from papermill.execute import execute_notebook

    values = strict_yaml.parse(parameters, "--parameters")
    if unknown := set(values) - set(defaults(notebook)):
        raise ThoraxError(f"{notebook} has no parameter {min(unknown)!r}: correct its first cell, or --parameters.")
    _register()
    done = execute_notebook(notebook, None, values, engine_name="thorax", progress_bar=False)
    done.metadata.pop("papermill")
    for cell in done.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        cell.id = INJECTED if INJECTED in (tags or ()) else cell.id
    store.write_text(nbformat.writes(done), out)


def _register() -> None:
    """Teach papermill to run cells in this process, and to write parameters in the same way with and without Black, and faster."""
    from nbformat.v4 import new_output
    from papermill.engines import Engine, papermill_engines
    from papermill.translators import PythonTranslator, papermill_translators

    class Parameters(PythonTranslator):
        @classmethod
        def codify(cls, parameters: dict[str, Any], comment: str = "Parameters") -> str:
            values = (cls.assign(name, cls.broken(value)) for name, value in parameters.items())
            return "\n".join([cls.comment(comment), *values]) + "\n"

        @classmethod
        def broken(cls, value: Any) -> str:
            whole = cls.translate(value)
            if len(whole) <= LONGEST_LINE or not isinstance(value, (dict, list)):
                return whole
            pairs = [f"{cls.translate(key)}: " for key in value] if isinstance(value, dict) else [""] * len(value)
            entries = value.values() if isinstance(value, dict) else value
            lines = [f"    {key}{cls.translate(entry)}," for key, entry in zip(pairs, entries, strict=True)]
            return "\n".join([whole[0], *lines, whole[-1]])

    class InProcess(Engine):
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **_: Any) -> None:
            code = [cell for cell in nb_man.nb.cells if cell.cell_type == "code"]
            for number, (cell, (printed, shown)) in enumerate(zip(code, _run(cell.source for cell in code), strict=True), 1):
                cell.execution_count = number
                cell.outputs = [new_output("stream", name="stdout", text=printed)] if printed else []
                cell.outputs += [new_output("display_data", data=data, metadata=about) for data, about in shown]

    papermill_engines.register("thorax", InProcess)
    papermill_translators.register("python", Parameters)


def _run(sources: Iterable[str]) -> Iterator[tuple[str, list[tuple[dict[str, str], dict[str, Any]]]]]:
    """Run cells one after the other; yield what each prints, and what it shows: text and metadata by MIME type. An error is raised."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.display import display
    from IPython.utils.capture import capture_output
    from traitlets.config import Config

    with TemporaryDirectory() as folder:  # instead of the user's home
        shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}), ipython_dir=folder)
        shell.display_trap.hook = lambda value: None if value is None else display(value)  # the value of a cell's last line
        try:
            for source in sources:
                with capture_output(stderr=False) as said:
                    result = shell.run_cell(source)
                result.raise_error()
                shown = [
                    ({kind: _as_text(data) for kind, data in out.data.items()}, out.metadata or {}) for out in said.outputs
                ]
                yield said.stdout, shown
        finally:
            InteractiveShell.clear_instance()


def _as_text(data: str | bytes) -> str:
    return base64.b64encode(data).decode("ascii") if isinstance(data, bytes) else data


def content(notebook: Path) -> Markup:
    """What an executed notebook says, runs and shows, for a page with a heading; cells that were not asked to draw are left out."""
    shown = [cell for cell in read(notebook) if DRAWS not in _tags(cell) or cell["outputs"]]
    return Markup("\n").join(_text_cell(cell) if cell["cell_type"] == "markdown" else _code_cell(cell) for cell in shown)


def _text_cell(cell: dict[str, Any]) -> Markup:
    from markdown_it import MarkdownIt

    below = re.sub("^#", "##", cell["source"], flags=re.MULTILINE)
    return Markup(MarkdownIt().render(below))


def _code_cell(cell: dict[str, Any]) -> Markup:
    parts = [Markup('<pre tabindex="0"><code>{}</code></pre>').format(cell["source"])]
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            parts.append(Markup('<pre tabindex="0">{}</pre>').format("".join(output["text"])))
        data = output.get("data", {})
        pictures = [kind for kind in _PICTURES if kind in data]
        if "text/plain" in data and not pictures:  # the value of the last line
            parts.append(Markup('<pre tabindex="0">{}</pre>').format("".join(data["text/plain"])))
        for kind in pictures:
            alt = output["metadata"].get(kind, {}).get("alt", NOT_DESCRIBED)
            source = _webp("".join(data[kind]))
            parts.append(Markup('<img alt="{}" src="data:image/webp;base64,{}">').format(alt, source))
    return Markup("\n").join(parts)


def _webp(encoded: str) -> str:
    """A PNG or JPEG as a WebP that looks the same, both in Base64."""
    import numpy as np
    from PIL import Image

    from thorax.report.figures import style

    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB"))
    return base64.b64encode(style.webp(picture, photos=True)).decode()

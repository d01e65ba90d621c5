"""A digest of the code that a verb runs: it changes with the code, and not with comments, docstrings or the place of a module.

Snakemake compares the text of rules and the times of files, DVC compares files: neither can tell a new constant from a new comment.
The digest covers all functions, classes and constants that a verb's function reaches by name, as syntax, and the package's data
files that they name. Nothing is run to find them. A module that is passed around as a value counts as a whole. Code that is
looked up by a computed name is not followed.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from thorax.errors import ThoraxError, did_you_mean
from thorax.report import notebooks
from thorax.verbs import VERBS

PACKAGE = Path(__file__).parents[1]
Target = tuple[str, str]  # module and name; the name is empty for the module itself
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = {*_FUNCTIONS, ast.Lambda, *_COMPREHENSIONS}
_IMPORTS = (ast.Import, ast.ImportFrom)
_MENTIONS = {ast.Name, ast.Attribute}


@dataclass
class _Module:
    """What the statements of a module bind."""

    defined: dict[str, list[ast.stmt]] = field(default_factory=dict)  # the statements that define each name
    imported: dict[str, Target] = field(default_factory=dict)  # what each imported name stands for, where it is of the package
    loose: list[ast.stmt] = field(default_factory=list)  # statements that bind no name: they run at every import


class Code:
    """The source of the package in a folder, read as it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._module, self._definition = cache(self._read_module), cache(self._read_definition)
        self._file = cache(self._find_file)
        folders = (folder / "resources", folder / "report" / "templates", folder / "bundles" / "templates")
        data = (path for each in folders for path in each.rglob("*.*") if path.suffix != ".py" and path.is_file())
        self._data_files = {path: {path.name, f"*{path.suffix}"} for path in sorted(data, key=lambda path: path.name)}

    def of_verb(self, verb: str) -> str:
        """The digest of what `thorax VERB` runs, and of the models that parse its settings: 16 hexadecimal digits."""
        if verb not in VERBS:
            raise ThoraxError(f"thorax has no verb {verb!r}{did_you_mean(verb, VERBS)}: choose one of {', '.join(VERBS)}.")
        module, _, function = VERBS[verb].function.partition(":")
        models = [("thorax.config", option.model) for option in VERBS[verb].options if option.model]
        return self.of([(module, function), *models])

    def of_notebook(self, notebook: Path | str) -> str:
        """The digest of a notebook's code cells and of what they reach in the package: 16 hexadecimal digits."""
        tree = notebooks.code(notebook)
        text, reached, _ = self._syntax(tree, "", self._bindings("", tree.body).imported)
        return self.of(reached, text)

    def of(self, roots: Iterable[Target], more: str = "") -> str:
        """The digest of what the roots reach, and of a text."""
        text = hashlib.blake2b(more.encode(), digest_size=8)
        for content in sorted({self._definition(target)[0] for target in self.reached(roots)}):
            text.update(content)
        return text.hexdigest()

    def reached(self, roots: Iterable[Target]) -> set[Target]:
        """All that the roots lead to; an empty name stands for the loose statements of a module."""
        found: set[Target] = set()
        waiting = {self._member(*root) or root for root in roots}
        while waiting:
            target = waiting.pop()
            found.add(target)
            waiting |= ({(target[0], "")} | self._definition(target)[1]) - found
        return found

    def _read_definition(self, target: Target) -> tuple[bytes, set[Target]]:
        """What a name stands for (its syntax, and the data files that it mentions), and what it leads to directly."""
        module, name = target
        names = self._module(module)
        visible = {**names.imported, **{defined: (module, defined) for defined in names.defined}}
        content, reached = f"\n{name} = ".encode(), set()
        for statement in names.defined[name] if name else names.loose:
            text, targets, texts = self._syntax(statement, module, visible)
            content += text.encode() + b"".join(path.read_bytes() for path in self._named_files(texts))
            reached |= targets
        return content, reached

    def _syntax(self, node: ast.AST, module: str, visible: dict[str, Target]) -> tuple[str, set[Target], set[str]]:
        """Syntax as text, what it mentions of the package, and its string constants.

        The text has no comments, docstrings, places and empty fields, so that all versions of Python agree on it. A mention is
        written as the name of the definition, however its module is called or imported.
        """
        found: set[Target] = set()
        constants: set[str] = set()

        def text(part: ast.AST, visible: dict[str, Target]) -> str:
            kind = type(part)
            if not part._fields:  # operators, and whether a name is read or written
                return f"{kind.__name__}()"
            target = self._resolve(part, visible) if kind in _MENTIONS else None
            if target is not None:
                whole = self._module(target[0]).defined if not target[1] else ()  # a module as a value: all of it
                found.update([target, *((target[0], name) for name in whole)])
                return f"@{target[1]}"
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                constants.add(part.value)
            hidden = _local_variables(part) if kind in _SCOPES else ()
            inner = {name: target for name, target in visible.items() if name not in hidden} if hidden else visible
            visible = inner if kind in _COMPREHENSIONS else visible
            parts = []
            for name, value in ast.iter_fields(part):
                if name == "body" and kind in (*_DEFINITIONS, ast.Module) and value and _is_docstring(value[0]):
                    value = value[1:]
                seen = inner if name == "body" else visible
                if isinstance(value, ast.AST):
                    parts.append(f"{name}={text(value, seen)}")
                elif isinstance(value, list) and value:
                    items = [item for item in value if type(item) not in _IMPORTS or not self._imports_the_package(item)]
                    written = [text(item, seen) if isinstance(item, ast.AST) else repr(item) for item in items]
                    parts.append(f"{name}=[{','.join(written)}]")
                elif value is not None and value != []:
                    parts.append(f"{name}={value!r}")
            return f"{kind.__name__}({','.join(parts)})"

        imports = [child for child in _statements(node) if isinstance(child, _IMPORTS)]
        return text(node, {**visible, **self._bindings(module, imports).imported}), found, constants

    def _resolve(self, node: ast.AST, visible: dict[str, Target]) -> Target | None:
        """What of the package an expression names."""
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            return visible.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self._resolve(node.value, visible)
            if owner is not None and not owner[1]:
                return self._member(owner[0], node.attr)
        return None

    def _member(self, module: str, name: str) -> Target | None:
        """Where a module's member is defined, through re-exports; None outside the package."""
        if not self._file(module):
            return None
        if name in self._module(module).defined:
            return (module, name)
        if name in self._module(module).imported:
            return self._module(module).imported[name]
        return (f"{module}.{name}", "") if self._file(f"{module}.{name}") else None

    def _read_module(self, name: str) -> _Module:
        path = self._file(name)
        assert path is not None, name
        return self._bindings(name, ast.parse(path.read_text(encoding="utf-8")).body)

    def _bindings(self, module: str, statements: Iterable[ast.stmt]) -> _Module:
        """What statements bind, blocks (if, try, with) as a whole; imports for type checkers alone never run."""
        found = _Module()
        for statement in statements:
            if isinstance(statement, ast.If) and isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING":
                continue
            bound = set()
            for node in _outside_definitions(statement):
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    found.imported |= self._imported(node)
                elif isinstance(node, _DEFINITIONS):
                    bound.add(node.name)
                elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    bound.add(node.id)
            for name in bound:
                found.defined.setdefault(name, []).append(statement)
            if not bound and not isinstance(statement, (ast.Import, ast.ImportFrom)) and not _is_docstring(statement):
                found.loose.append(statement)
        return found

    def _imported(self, node: ast.Import | ast.ImportFrom) -> dict[str, Target]:
        """What an import makes visible of the package."""
        if isinstance(node, ast.Import):
            own = [alias for alias in node.names if self._file(alias.name)]
            return {alias.asname or "thorax": (alias.name if alias.asname else "thorax", "") for alias in own}
        found: dict[str, Target] = {}
        for alias in node.names if self._imports_the_package(node) else ():
            submodule = f"{node.module}.{alias.name}"
            target = (submodule, "") if self._file(submodule) else self._member(str(node.module), alias.name)
            if target is not None:
                found[alias.asname or alias.name] = target
        return found

    def _imports_the_package(self, node: object) -> bool:
        if isinstance(node, ast.Import):
            return all(self._file(alias.name) for alias in node.names)
        return isinstance(node, ast.ImportFrom) and node.module is not None and self._file(node.module) is not None

    def _find_file(self, module: str) -> Path | None:
        """The file of a module of the package; None for other modules."""
        first, *rest = module.split(".")
        path = self.folder.joinpath(*rest)
        found = (file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file())
        return next(found, None) if first == "thorax" else None

    def _named_files(self, texts: Iterable[str]) -> Iterator[Path]:
        """The package's data files that texts name, in full or by their suffix, as in `*.csv`."""
        names = {text.rpartition("/")[2] for text in texts}
        return (path for path, mentions in self._data_files.items() if not names.isdisjoint(mentions))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """A statement and all statements within it."""
    yield node
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        within = getattr(node, name, ())
        for child in within if isinstance(within, list) else ():
            yield from _statements(child)


def _local_variables(node: ast.AST) -> set[str]:
    """The variables of a function or comprehension, which hide names of the module within it."""
    if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg)
        body = node.body if isinstance(node.body, list) else [node.body]
        return {argument.arg for argument in arguments if argument} | _stored(body)
    return _stored([loop.target for loop in node.generators]) if isinstance(node, _COMPREHENSIONS) else set()


def _stored(nodes: list[Any]) -> set[str]:
    """The variables that statements of one function assign, without those of functions and comprehensions in them."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, _DEFINITIONS):
            found.add(node.name)
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                found.add(node.id)
        elif node._fields and not isinstance(node, (ast.Lambda, *_COMPREHENSIONS)):
            found |= _stored(list(ast.iter_child_nodes(node)))
    return found


def _outside_definitions(node: ast.AST) -> Iterator[ast.AST]:
    """A statement and its parts, but not the insides of functions and classes."""
    yield node
    if not isinstance(node, (*_DEFINITIONS, ast.Lambda)):
        for child in ast.iter_child_nodes(node):
            yield from _outside_definitions(child)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


_THIS = Code(PACKAGE)
digest, notebook_digest = cache(_THIS.of_verb), cache(_THIS.of_notebook)

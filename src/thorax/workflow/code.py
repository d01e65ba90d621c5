"""A digest of the code that a verb runs, so that changed code is noticed and an edited comment is not.

Neither Snakemake (which compares a rule's text and timestamps) nor DVC (which compares files) can tell a new constant from a
new docstring. The digest can: it covers every function, class and constant that the verb can reach by name, as syntax without
comments and docstrings, and the package's data files that they name. Where a definition stands is left out of it, so that a moved
or renamed module changes nothing. Names are resolved without running anything: a module that is passed around as a value counts
as a whole, and code that is looked up by a computed name is not followed.
"""

import ast
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from thorax.errors import ThoraxError

PACKAGE = Path(__file__).parents[1]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef)


@cache
def digest(verb: str) -> str:
    """Of the code behind `thorax VERB`: 16 hexadecimal digits.

    Raises:
        ThoraxError: there is no such verb.
    """
    functions = _verbs()
    if verb not in functions:
        raise ThoraxError(f"thorax has no verb {verb!r}: take one of {', '.join(functions)}.")
    return _digest({("thorax.cli", functions[verb])})


@cache
def notebook_digest(notebook: Path | str) -> str:
    """Of a notebook's code cells and what they reach of the package: 16 hexadecimal digits.

    Raises:
        ThoraxError: the file is not a readable notebook.
    """
    try:
        cells = json.loads(Path(notebook).read_text(encoding="utf-8"))["cells"]
        source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        tree = ast.parse("\n".join(line for line in source.splitlines() if not line.startswith(("%", "!"))))
    except (OSError, KeyError, ValueError, SyntaxError) as error:
        raise ThoraxError(f"{notebook} is not a readable notebook ({error}): restore it.") from error
    names = _bindings("", tree.body)
    return _digest({reached for statement in tree.body for reached in _references(statement, names)}, _syntax(tree, names, ""))


@dataclass
class _Module:
    """What a module's names stand for: statements that define them, and imports."""

    defined: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)  # name: (module, member or "")
    loose: list[ast.stmt] = field(default_factory=list)  # statements that bind no name: they run at every import


def _digest(roots: set[tuple[str, str]], more: str = "") -> str:
    text = hashlib.blake2b(more.encode(), digest_size=8)
    for content in sorted({_content(module, name) for module, name in _reachable(roots)}):
        text.update(content)
    return text.hexdigest()


@cache
def _content(module: str, name: str) -> bytes:
    """What a name stands for: its syntax, and the data files that it mentions."""
    parts = [f"\n{name} = ".encode()]
    for statement in _statements(module, name):
        parts.append(_syntax(statement, _module(module), module).encode())
        parts += [data.read_bytes() for data in _data_files(statement)]
    return b"".join(parts)


def _statements(module: str, name: str) -> list[ast.stmt]:
    return _module(module).defined[name] if name else _module(module).loose


def _reachable(roots: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """All (module, name) that the roots lead to; the empty name stands for a module's loose statements."""
    seen: set[tuple[str, str]] = set()
    waiting = set(roots)
    while waiting:
        found = module, name = waiting.pop()
        if found in seen:
            continue
        seen.add(found)
        waiting |= _next(module, name)
    return seen


@cache
def _next(module: str, name: str) -> frozenset[tuple[str, str]]:
    """What a name leads to directly."""
    found = {reached for statement in _statements(module, name) for reached in _references(statement, _module(module), module)}
    return frozenset({(module, ""), *found})


def _references(node: ast.AST, names: _Module, module: str = "") -> Iterator[tuple[str, str]]:
    """The (module, name) of the package that a piece of code mentions, with the imports that it makes itself."""
    parts = [(node, _scope(node, names, module))]
    while parts:
        part, scope = parts.pop()
        target = _resolve(part, scope, module)
        if target is None:
            parts.extend((child, inner) for _, child, inner in _children(part, scope))
        elif target[1]:
            yield target
        else:  # a module as a value: all of it
            yield from ((target[0], name) for name in _module(target[0]).defined)
            yield (target[0], "")


def _scope(node: ast.AST, names: _Module, module: str) -> _Module:
    """A module's names and those that a piece of code imports itself."""
    own = _bindings(module, [child for child in ast.walk(node) if isinstance(child, (ast.Import, ast.ImportFrom))])
    return _Module(names.defined, {**names.imported, **own.imported})


def _children(node: ast.AST, scope: _Module) -> Iterator[tuple[str, ast.AST, _Module]]:
    """A node's field names and children, each with the names that it sees: local variables hide those of the module."""
    inner = scope
    if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg)
        body = node.body if isinstance(node.body, list) else [node.body]
        inner = _hiding({argument.arg for argument in arguments if argument} | _stored(body), scope)
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        scope = inner = _hiding(_stored([loop.target for loop in node.generators]), scope)
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield name, child, inner if name == "body" else scope


def _stored(nodes: list[Any]) -> set[str]:
    """The variables that statements of one function assign, those of functions and comprehensions in them left out."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, _DEFINITIONS):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif not isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            found |= _stored(list(ast.iter_child_nodes(node)))
    return found


def _hiding(hidden: set[str], scope: _Module) -> _Module:
    keep = lambda names: {name: value for name, value in names.items() if name not in hidden}
    return _Module(keep(scope.defined), keep(scope.imported)) if hidden else scope


def _resolve(node: ast.AST, scope: _Module, module: str) -> tuple[str, str] | None:
    """What of the package an expression names: (module, name), or (module, "") for the module itself."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        return (module, node.id) if node.id in scope.defined and module else scope.imported.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _resolve(node.value, scope, module)
        if owner is not None and not owner[1]:
            return _member(owner[0], node.attr)
    return None


def _member(module: str, name: str) -> tuple[str, str] | None:
    """Where a module's member is defined, through re-exports; None outside the package."""
    if not _file(module):
        return None
    if name in _module(module).defined:
        return (module, name)
    if name in _module(module).imported:
        return _module(module).imported[name]
    return (f"{module}.{name}", "") if _file(f"{module}.{name}") else None


@cache
def _module(name: str) -> _Module:
    path = _file(name)
    assert path is not None, name
    return _bindings(name, ast.parse(path.read_text(encoding="utf-8")).body)


def _bindings(module: str, statements: list[ast.stmt] | list[ast.Import | ast.ImportFrom]) -> _Module:
    """What statements of a module bind, blocks (if, try, with) as a whole; imports for type checkers alone never run."""
    found = _Module()
    for statement in statements:
        if isinstance(statement, ast.If) and isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING":
            continue
        bound = set()
        for node in _outside_definitions(statement):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if _file(alias.name):
                        found.imported[alias.asname or alias.name.split(".")[0]] = (
                            alias.name if alias.asname else "thorax",
                            "",
                        )
            elif isinstance(node, ast.ImportFrom) and node.module and _file(node.module):
                for alias in node.names:
                    submodule = f"{node.module}.{alias.name}"
                    target = (submodule, "") if _file(submodule) else _member(node.module, alias.name)
                    if target is not None:
                        found.imported[alias.asname or alias.name] = target
            elif isinstance(node, _DEFINITIONS):
                bound.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                bound.add(node.id)
        for name in bound:
            found.defined.setdefault(name, []).append(statement)
        if not bound and not isinstance(statement, (ast.Import, ast.ImportFrom)) and not _is_docstring(statement):
            found.loose.append(statement)
    return found


def _outside_definitions(node: ast.AST) -> Iterator[ast.AST]:
    """A statement and its parts, but not the insides of functions and classes."""
    yield node
    if not isinstance(node, (*_DEFINITIONS, ast.Lambda)):
        for child in ast.iter_child_nodes(node):
            yield from _outside_definitions(child)


def _syntax(node: ast.AST, names: _Module, module: str) -> str:
    """Syntax as text without comments, docstrings, places and empty fields, so that Python's versions agree on it.

    What an expression names of the package is written as the name of the definition, however its module is called or imported.
    """

    def text(part: ast.AST, scope: _Module) -> str:
        target = _resolve(part, scope, module)
        if target is not None:
            return f"@{target[1]}"
        seen = {id(child): inner for _, child, inner in _children(part, scope)}
        parts = []
        for field_name, value in ast.iter_fields(part):
            if field_name == "body" and isinstance(part, (*_DEFINITIONS, ast.Module)) and value and _is_docstring(value[0]):
                value = value[1:]
            if value in (None, []):
                continue
            items = [item for item in (value if isinstance(value, list) else [value]) if not _imports_the_package(item)]
            written = [text(item, seen[id(item)]) if isinstance(item, ast.AST) else repr(item) for item in items]
            parts.append(f"{field_name}={written[0] if not isinstance(value, list) else '[' + ','.join(written) + ']'}")
        return f"{type(part).__name__}({','.join(parts)})"

    return text(node, _scope(node, names, module))


def _imports_the_package(node: object) -> bool:
    if isinstance(node, ast.Import):
        return all(_file(alias.name) for alias in node.names)
    return isinstance(node, ast.ImportFrom) and node.module is not None and _file(node.module) is not None


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _data_files(node: ast.AST) -> list[Path]:
    """The package's data files that a piece of code names in a text, or by their suffix, as in `*.csv`."""
    texts = {Path(part.value).name for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    folders = (PACKAGE / "resources", PACKAGE / "report" / "templates")
    files = (path for folder in folders for path in folder.rglob("*.*") if path.suffix != ".py" and path.is_file())
    named = (path for path in files if path.name in texts or f"*{path.suffix}" in texts)
    return sorted(named, key=lambda path: path.name)


@cache
def _file(module: str) -> Path | None:
    """The file of a module of the package; None for other modules."""
    first, *rest = module.split(".")
    if first != "thorax":
        return None
    path = PACKAGE.joinpath(*rest)
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


@cache
def _verbs() -> dict[str, str]:
    """The function of cli.py behind each verb, as its parser declares them."""
    calls = [
        node
        for function in _module("thorax.cli").defined["_parser"]
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "verb"
    ]
    return {node.args[0].value: node.args[1].id for node in calls}  # type: ignore[attr-defined]

"""Lines of a plugin's source: where an error passed through it, and where a method of it answers."""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from leakbench.api import Release

_CONTRACTS = ("leakbench.api", "leakbench.runtime.plugin", "leakbench.models.release", "pydantic", "builtins", "abc")


def line_of_error(error: BaseException, plugin: type) -> str:
    """The deepest line of the plugin's code (its file and the files beside it) in a traceback; "" if it has none."""
    folders = {Path(path).parent for kind in own_classes(plugin) if (path := _file(kind))}
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).resolve().parent in folders]
    if isinstance(error, SyntaxError) or not frames:
        return ""
    last = frames[-1]
    return _described(last.filename, last.lineno or 0, last.name)


def line_of_answer(thing: Callable[..., Any] | type) -> str:
    """The line on which a method answers: its one `return`, or its `def` where there are several; or that of a class.

    "" where there is no source.
    """
    thing = inspect.unwrap(thing)
    try:
        path = inspect.getsourcefile(thing)
        source, start = inspect.getsourcelines(thing)
        (defined,) = ast.parse(textwrap.dedent("".join(source))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return ""
    answers = [] if isinstance(thing, type) else list(_returns(defined))
    line = answers[0].lineno if len(answers) == 1 else defined.lineno
    return _described(path or "", start + line - 1, thing.__name__)


def line_of_parameter(plugin: type, name: str) -> str:
    """The line of a class on which a parameter is declared."""
    for kind in own_classes(plugin):
        try:
            source, start = inspect.getsourcelines(kind)
            path = inspect.getsourcefile(kind)
        except (OSError, TypeError):
            continue
        for number, line in enumerate(source):
            if line.strip().startswith(f"{name}:") and path is not None:
                return _described(path, start + number, kind.__name__)
    return line_of_answer(plugin)


def answering_method(release: Release, name: str, otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """The method of a release where a defense wrote one of its own, else the defense's `otherwise` that made it."""
    return otherwise if getattr(type(release), name) is getattr(Release, name) else getattr(type(release), name)


def own_classes(plugin: type) -> list[type]:
    """The plugin's class and those that it inherits from, without the contracts."""
    return [kind for kind in plugin.__mro__ if not kind.__module__.startswith(_CONTRACTS)]


def _file(kind: type) -> Path | None:
    try:
        return Path(inspect.getfile(kind)).resolve()
    except (OSError, TypeError):
        return None


def _returns(node: ast.AST) -> Iterator[ast.Return]:
    """Return statements of a function, without those of functions inside it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Return):
            yield child
        elif not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            yield from _returns(child)


def _described(path: str, line: int, name: str) -> str:
    """file:line (function), the path relative to the current folder where it lies there; and the line's text."""
    place, here = Path(path).resolve(), Path.cwd()
    shown = place.relative_to(here) if place.is_relative_to(here) else place
    text = linecache.getline(path, line).strip()
    return f"{shown}:{line} ({name})" + (f"\n  {text}" if text else "")

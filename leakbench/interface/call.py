"""Calls of leakbench's functions as text: what plan.json and history.json hold in place of a command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from typing import Any


def format_call(function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """The call as Python writes it, in one line and without arguments that have their default.

    given: the value of every parameter, by name, such as `locals()` at the start of the function.
    """
    words = []
    for name, parameter in inspect.signature(function).parameters.items():
        word = repr(_plain(given[name]))
        if parameter.default is not parameter.empty and word == repr(_plain(parameter.default)):
            continue
        words.append(word if parameter.kind is parameter.POSITIONAL_OR_KEYWORD else f"{name}={word}")
    return f"leakbench.{function.__name__}({', '.join(words)})"


def _plain(value: Any) -> Any:
    """A value whose `repr` can be typed in: paths as text, numpy's numbers and arrays as Python's."""
    if isinstance(value, PathLike):
        return fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value

"""Options that the functions for Python share with the command line: their types, and checks of their values."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

from leakbench.runtime.errors import UsageError, nearest_name
from leakbench.runtime.paths import user_path

Device = Literal["auto", "cpu", "cuda"]
Labels = Literal["folder"]
PathName = str | PathLike[str]


def check_choice(name: str, value: str, choices: Any) -> None:
    """Raise UsageError unless the value is one of those of `choices`, a Literal."""
    allowed = get_args(choices)
    if value not in allowed:
        raise UsageError(f"{name} = {value!r}: {nearest_name(str(value), allowed)}")


def check_at_least(name: str, value: float | None, least: float) -> None:
    """Raise UsageError for a number below `least`, or none at all; None passes."""
    if value is not None and not (isinstance(value, Real) and value >= least):
        raise UsageError(f"{name} = {value!r}: it must be a number from {least:g} up")


def list_paths(given: PathName | Sequence[PathName]) -> list[Path]:
    """Paths of a list, or the one path that is given without a list."""
    return [user_path(one) for one in ([given] if isinstance(given, str | PathLike) else given)]


def list_names(given: str | Sequence[str]) -> tuple[str, ...]:
    """Names of a list, or the one name that is given without a list."""
    return (given,) if isinstance(given, str) else tuple(given)

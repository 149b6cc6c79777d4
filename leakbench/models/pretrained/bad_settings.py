"""Settings of a model from a stranger: numbers that are none, and values that no class takes, are one clear error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from leakbench.runtime.errors import UsageError, in_a_line

_MOST = 2**20  # of channels, pixels a side, labels: far more than any model has, and far less than fills a memory
FAULTS = (
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    AssertionError,
    NameError,
)


def read_whole(settings: Mapping[str, Any], key: str, where: str) -> int:
    """A whole number from 1 up among a model's settings. Raises UsageError that begins with `where`."""
    value = settings.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST:
        raise UsageError(f"{where}: {key} = {_shorten(value)}: it should be a whole number from 1 to {_MOST}")
    return value


def read_sides(settings: Mapping[str, Any], key: str, where: str) -> tuple[int, int]:
    """Height and width among a model's settings, which is one number where they are equal. Raises UsageError."""
    value = settings.get(key)
    if isinstance(value, list | tuple) and len(value) == 2:
        height, width = (read_whole({key: side}, key, where) for side in value)
        return height, width
    return (read_whole(settings, key, where),) * 2


@contextmanager
def bad_settings(where: str) -> Iterator[None]:
    """Around what reads settings or builds from them: whatever Python, diffusers or torch raise of values that they do
    not take is a UsageError that begins with `where`."""
    try:
        yield
    except FAULTS as error:
        raise UsageError(f"{where}: its settings are not those of such a model ({in_a_line(error)[:200]})") from None


def _shorten(value: object) -> str:
    return repr(value)[:80]

"""The errors that a user sees: one clear line, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(Exception):
    """Wrong usage. The message is one line that names the file, the key, the value and what would be right. Exit code
    2.
    """


def in_a_line(error: BaseException) -> str:
    """Another's error: its kind, and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def nearest_name(word: str, names: Iterable[str]) -> str:
    """'; did you mean ...?' with the nearest valid name, or the list of all when none is near."""
    names = sorted(names)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"

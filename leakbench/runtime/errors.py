"""Errors for users: one clear line, no traceback."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable


class UsageError(Exception):
    """Wrong usage: exit code 2. The message is one line that names the file, the key, the value and what is allowed."""


class SettingError(UsageError):
    """A setting of a suite with a wrong value: the message is `before`, key = value, `after`.

    A command that has an option for the setting raises `as_option` instead, so that its user reads what was typed.
    """

    def __init__(self, before: str, key: str, value: object, after: str) -> None:
        super().__init__(f"{before}{key} = {value!r}{after}")
        self.before, self.key, self.after = before, key, after

    def as_option(self, value: object) -> UsageError:
        """The same error in the words of a command line."""
        return UsageError(f"{self.before}--{self.key.replace('_', '-')} {value}{self.after}")


LONGEST_LINE = 2000  # characters


def format_error(error: BaseException) -> str:
    """An error for users as one line that prints: without control characters, and cut where nobody would read on."""
    line = to_printable(" ".join(str(error).splitlines()))
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 3]}..."


def in_a_line(error: BaseException) -> str:
    """Format an error as one line: its class and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """True if an error says that memory has run out: Python's, that of torch's CPU allocator, or that of a device."""
    words = f"{type(error).__name__}: {error}"  # torch is not imported for its class; an attack's error is told as text
    return any(word in words for word in ("MemoryError", "out of memory", "can't allocate memory"))


def nearest_name(word: str, names: Iterable[str]) -> str:
    """Suggest the nearest valid name ("did you mean 'loss'?"), or list all names when none is near."""
    names = sorted(names)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"


def to_printable(text: str) -> str:
    """Text in which control characters, line breaks and other invisible ones stand as Python writes them: what a
    hostile file says never reaches a terminal as it is."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def escape_controls(text: str) -> str:
    """Text of several lines in which control and formatting characters stand as Python writes them, but for line breaks
    and tabs: it colours no terminal, moves no cursor, and turns no letters around."""
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(repr(c)[1:-1] if unicodedata.category(c) in _UNSEEN and c not in "\n\t" else c for c in text)


_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}

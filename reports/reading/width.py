"""The widths that text is laid out for on a terminal."""

from __future__ import annotations

import shutil

_WIDTH = 100  # where there is no terminal: a log file, a pipe, a notebook; and of lines of prose, at most


def read_width() -> int:
    """The columns of the terminal, or those that COLUMNS tells; without either 100."""
    return shutil.get_terminal_size((_WIDTH, 24)).columns


def prose_width() -> int:
    """The columns of lines of prose: those of the terminal, at most 100, beyond which nobody reads."""
    return min(_WIDTH, read_width())

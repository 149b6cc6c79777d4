"""Lines of text on a terminal, broken at its width; a file or a pipe gets each line whole."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

_COLUMNS = re.compile(r"(?: *\S+ {2,})+(?=\S)")  # of a line, before its words


def print_lines(lines: Iterable[str]) -> None:
    """Print lines. What goes on below stands under the line's words."""
    from leakbench.reports.reading.width import read_width
    from leakbench.reports.tables.columns import wrap

    width = read_width() if sys.stdout.isatty() else None
    for line in lines:
        before = _COLUMNS.match(line)
        print(*wrap(line, width, others=" " * before.end() if before else "  ") if width else [line], sep="\n")

"""report_tables.csv: every cell of every table of report.md, as printed, one a row.

Columns: section (its heading), table (its number in the section), above (the line that announces the table, such as the
name of a point), row (its first cell), column, text. What other CSV files hold with every digit stands here rounded;
what only the report works out (ratios, shares by class, counts) stands here alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..figures.values import Values, write_values

NAME = "report_tables.csv"
_RULE = re.compile(r"\|(-+\|)+")


def write_report_tables(folder: Path, text: str) -> Path:
    """Write the file of a report's text into a folder."""
    return write_values(folder / NAME, list_cells(text))


def list_cells(text: str) -> Iterator[Values]:
    """Cells of the text's tables, in their order."""
    section, above, number, titles = "", "", 0, list[str]()
    for line in text.splitlines():
        if line.startswith("## "):
            section, above, number = line.removeprefix("## "), "", 0
        if not line.startswith("|"):
            above = line.rstrip(":").replace("*", "") if line.endswith(":") else above if not line else ""
            titles = []
        elif not titles:
            titles, number = _split(line), number + 1
        elif not _RULE.fullmatch(line):
            cells = _split(line)
            where = {"section": section, "table": number, "above": above, "row": cells[0]}
            yield from ({**where, "column": title, "text": cell} for title, cell in zip(titles, cells, strict=True))


def _split(line: str) -> list[str]:
    """The cells of a line of a table."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]

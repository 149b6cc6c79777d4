"""Tables in Markdown."""

from __future__ import annotations

import re

from leakbench.runtime.errors import escape_controls

_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_OUTWARD = re.compile(r"\]\((?=\s*<?(?:[A-Za-z][A-Za-z0-9+.-]*:|//))")


def markdown_table(titles: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown; its last line ends in a line break."""
    lines = [titles, *rows]
    head, *body = ("| " + " | ".join(map(escape_cell, line)) + " |\n" for line in lines)
    return head + "|" + "---|" * len(titles) + "\n" + "".join(body)


def escape_cell(text: str) -> str:
    """Text that may stand in a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def disarm(text: str) -> str:
    """Markdown of a report in which nothing of what records say runs, fetches or hides: tags stand as letters, links
    and images lead to files beside it alone, control characters stand as Python writes them."""
    return _OUTWARD.sub(r"]\\(", _TAG.sub("&lt;", escape_controls(text)))

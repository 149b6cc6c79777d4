"""Tables in Markdown."""

from __future__ import annotations


def markdown_table(titles: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown; its last line ends in a line break."""
    lines = [titles, *rows]
    head, *body = ("| " + " | ".join(map(escape_cell, line)) + " |\n" for line in lines)
    return head + "|" + "---|" * len(titles) + "\n" + "".join(body)


def escape_cell(text: str) -> str:
    """Text that may stand in a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")

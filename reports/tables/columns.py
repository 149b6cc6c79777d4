"""Tables as plain lines of at most a given width: a row is one line where that fits, else its cells stand on several.

A cell "0.93 [0.91, 0.95]" then has its interval below its value, and a name its parameters below. Lists of words with
commas, the last column's, are replaced by letters where they are too long, with a line a letter below the table.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from string import ascii_lowercase

from ..reading.formatting import NOTHING

_Row = Sequence[Sequence[str]]  # of each cell its lines
GAP = "  "
_INDENT = "  "
_NOTHING = ("", NOTHING)
_LONG = 16  # of a name, broken where a row is one line no longer
_UNBROKEN = "\N{NO-BREAK SPACE}"  # textwrap breaks no line here


def fit_table(titles: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lines of a table: the titles (on several lines where they are long), a rule and the rows. A table that no layout
    makes narrow enough is one block a row, a line a column."""
    rows = [[[cell] for cell in row] for row in cells]
    stacked = [[_stack_name(row[0]), *map(_stack_interval, row[1:])] for row in cells]
    lettered, legend = _letter([row[-1] for row in cells])
    short = [[*row[:-1], [letters]] for row, letters in zip(stacked, lettered, strict=True)]
    whole = [[title] for title in titles]
    layouts: list[tuple[_Row, Sequence[_Row], list[str]]] = [(whole, rows, [])]
    layouts += [(_stack_titles(titles, found), found, []) for found in (rows, stacked)]
    layouts += [(_stack_titles(titles, short), short, legend)] if legend else []
    for heads, found, below in layouts:
        if sum(_widths([heads, *found])) + len(GAP) * (len(titles) - 1) <= width:
            return [*_lay_out(heads, found), *below]
    return list_blocks(titles, cells, width)


def list_blocks(titles: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lines of a table as one block a row: its first cell, and below it a line for each of the others that says
    something."""
    room = max((len(title) for title in titles[1:]), default=0)
    lines: list[str] = []
    for row in cells:
        lines.append(row[0])
        told = [(title, cell) for title, cell in zip(titles[1:], row[1:], strict=True) if cell not in _NOTHING]
        for title, cell in told:
            lines += wrap(f"{title:{room}}{GAP}{cell}", width, _INDENT, " " * (room + 4))
    return lines


def wrap(line: str, width: int, first: str = "", others: str = _INDENT) -> list[str]:
    """A sentence in lines of at most so many columns, broken between words alone and within no interval."""
    whole = re.sub(r"\[[^\]]{,40}\]", lambda found: found[0].replace(" ", _UNBROKEN), line)
    lines = textwrap.wrap(
        whole, width, initial_indent=first, subsequent_indent=others, break_long_words=False, break_on_hyphens=False
    )
    return [one.replace(_UNBROKEN, " ") for one in lines] or [""]


def _stack_name(name: str) -> list[str]:
    """A name with its parameters below it, one a line; a long word is broken after a "-" or a "_"."""
    parts = [part for word in name.split(" ") for part in _break_word(word)]
    return [parts[0], *(f"{_INDENT}{part}" for part in parts[1:])]


def _break_word(word: str) -> list[str]:
    if len(word) <= _LONG:
        return [word]
    lines = [""]
    for part in re.findall(r"[^-_]+[-_]*|[-_]+", word):
        if len(lines[-1] + part) > _LONG and lines[-1]:
            lines.append("")
        lines[-1] += part
    return lines


def _stack_interval(cell: str) -> list[str]:
    value, bracket, rest = cell.partition(" [")
    return [value, f"[{rest}"] if bracket else cell.split(" ") if ", " in cell else [cell]


def _letter(lists: Sequence[str]) -> tuple[list[str], list[str]]:
    """Lists of words as letters, and what each letter stands for."""
    words = list(dict.fromkeys(word for one in lists for word in one.split(", ") if word))
    if len(words) > len(ascii_lowercase):
        return list(lists), []
    letters = dict(zip(words, ascii_lowercase, strict=False))
    said = [f"{letter}: {word}" for word, letter in letters.items()]
    return [" ".join(letters[word] for word in one.split(", ") if word) for one in lists], said


def _stack_titles(titles: Sequence[str], rows: Sequence[_Row]) -> list[list[str]]:
    """Titles in lines no longer than the cells below them, but for long words."""
    room = _widths(rows) if rows else [_LONG] * len(titles)
    return [textwrap.wrap(title, max(one, 1), break_long_words=False) for title, one in zip(titles, room, strict=True)]


def _widths(rows: Sequence[_Row]) -> list[int]:
    return [max(len(line) for cell in column for line in cell) for column in zip(*rows, strict=True)]


def _lay_out(heads: _Row, rows: Sequence[_Row]) -> list[str]:
    widths = _widths([heads, *rows])
    rule = "-" * (sum(widths) + len(GAP) * (len(widths) - 1))
    return [*_join(heads, widths), rule, *(line for row in rows for line in _join(row, widths))]


def _join(row: _Row, widths: Sequence[int]) -> list[str]:
    """A row as lines, its cells side by side."""
    lines = zip_longest(*row, fillvalue="")
    return [GAP.join(f"{c:{w}}" for c, w in zip(cells, widths, strict=True)).rstrip() for cells in lines]

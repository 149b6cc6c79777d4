"""A table as LaTeX that compiles as it stands, with booktabs, siunitx and graphicx.

A number and its interval are two columns, the first aligned at the decimal point. A table that is wider than the page
is scaled to its width; one of many rows is continued in further floats.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from math import floor, isfinite, isnan, log10
from statistics import median

from leakbench.results.flags import explain_flag
from leakbench.results.metric_specs import find_metric
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Summary

from .best import find_best
from .escape import escape, label
from .table import Column, PaperTable, Row

PACKAGES = ("booktabs", "siunitx", "graphicx")
ROWS = 45  # of one float
_NARROW = 3  # columns of numbers that fit into one column of a page
_ARROWS = {"": "", "lower": r" $\downarrow$", "higher": r" $\uparrow$"}
_NOTHING = "{--}"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def render(run: RunFolder, table: PaperTable) -> str:
    """The whole fragment: one float, or several where the rows are many."""
    best = find_best(run, table)
    starts = range(0, max(1, len(table.rows)), ROWS)
    head = f"% {escape(table.name)}, by leakbench; needs \\usepackage{{{','.join(PACKAGES)}}}\n"
    floats = []
    for part, start in enumerate(starts):
        shown = replace(table, rows=table.rows[start : start + ROWS])
        own = {(number - start, name) for number, name in best}
        counted = f" (part {part + 1} of {len(starts)})" if len(starts) > 1 else ""
        floats.append(_float(run, shown, own, part, counted, [decimals(table, column) for column in table.columns]))
    return head + "\n".join(floats)


def _float(
    run: RunFolder, table: PaperTable, best: set[tuple[int, str]], part: int, counted: str, digits: list[int]
) -> str:
    kind = "table" if len(table.columns) <= _NARROW else "table*"
    name = "tab:" + label(run.plan.suite or run.path.name, table.name, str(part + 1) if part else "")
    everywhere = _shared_flags(table)
    letters = _letters(table, everywhere)
    lines = [
        rf"\begin{{{kind}}}[tbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{escape(table.caption + counted)}}}",
        rf"\label{{{name}}}\par\vspace{{4pt}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{@{{}}{_layout(table, digits)}@{{}}}}",
        r"\toprule",
        *_heading(table),
        r"\midrule",
        *_void_line(table),
        *_body(table, best, letters, digits),
        r"\bottomrule",
        r"\end{tabular}}",
        *_notes(table, letters, everywhere),
        rf"\end{{{kind}}}",
    ]
    return "\n".join(lines) + "\n"


def _layout(table: PaperTable, digits: list[int]) -> str:
    """Kinds of the columns: words, and for each number its value and its interval."""
    numbers = (
        f"S[table-format={_whole(table, column)}.{places},detect-weight]@{{\\,}}l"
        for column, places in zip(table.columns, digits, strict=True)
    )
    return "l" * len(table.heads) + "".join(numbers)


def _whole(table: PaperTable, column: Column) -> str:
    """Room for the digits before the point, and for a sign where there is one."""
    values = [found.mean * column.scale for found in _numbers(table, column)]
    largest = max((abs(value) for value in values), default=1.0)
    sign = "-" if any(value < 0 for value in values) else ""
    return f"{sign}{len(str(int(largest + 0.5)))}"


def decimals(table: PaperTable, column: Column) -> int:
    """Decimals of a column: of shares in per cent one, of distances so many that a usual one has three digits."""
    if column.digits is not None:
        return column.digits
    unit = find_metric(column.metric).unit
    if unit in ("images", "groups", "steps", "calls"):
        return 0
    if unit != "distance":
        return 1 if unit == "share" else 2
    usual = median([abs(found.mean) for found in _numbers(table, column) if found.mean] or [1.0])
    return max(0, min(3, 2 - floor(log10(usual))))


def _numbers(table: PaperTable, column: Column) -> list[Summary]:
    found = (cell.found for row in table.rows if (cell := row.cells.get(column.name)))
    return [one for one in found if one is not None and isfinite(one.mean)]


def _heading(table: PaperTable) -> list[str]:
    """Titles with arrows, under the heading that neighbours share."""
    titles = [escape(head) for head in table.heads]
    titles += [rf"\multicolumn{{2}}{{c}}{{{escape(c.title)}{_arrow(c)}}}" for c in table.columns]
    if not any(column.group for column in table.columns):
        return [_line(titles)]
    above, rules, place = [""] * len(table.heads), [], len(table.heads) + 1
    for group, members in groupby(table.columns, lambda column: column.group):
        width = 2 * len(list(members))
        above.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(group)}}}")
        rules += [rf"\cmidrule(lr){{{place}-{place + width - 1}}}"] if group else []
        place += width
    return [_line(above), "".join(rules), _line(titles)]


def _arrow(column: Column) -> str:
    if column.better.startswith("closest to "):
        return rf" $\rightarrow$ {column.better.removeprefix('closest to ')}"
    return _ARROWS[column.better]


def _void_line(table: PaperTable) -> list[str]:
    """The line across the table of a void track."""
    if not table.void:
        return []
    width = len(table.heads) + 2 * len(table.columns)
    words = r"\textbf{VOID TRACK: no membership result in this table says anything}"
    return [rf"\multicolumn{{{width}}}{{c}}{{{words}}} \\", r"\midrule"]


def _body(table: PaperTable, best: set[tuple[int, str]], letters: dict[str, str], digits: list[int]) -> list[str]:
    lines, above = [], None
    for number, row in enumerate(table.rows):
        if above is not None and row.among != above:
            lines.append(r"\addlinespace")
        cells = [escape(word) for word in row.words]
        if row.among and row.among == above:
            cells[0] = ""
        cells[-1] += _marks(row, letters)
        for column, places in zip(table.columns, digits, strict=True):
            its = row.cells.get(column.name)
            bold = (number, column.name) in best
            cells += _number(its.found if its else None, column.scale, places, bold)
        lines.append(_line(cells))
        above = row.among
    return lines


def _marks(row: Row, letters: dict[str, str]) -> str:
    raised = [letters[flag] for flag in row.flags if flag in letters]
    return rf"\textsuperscript{{{','.join(raised)}}}" if raised else ""


def _number(found: Summary | None, scale: float, digits: int, bold: bool) -> list[str]:
    """A value and its interval, as two cells."""
    if found is None or not isfinite(found.mean):
        return [_NOTHING, ""]
    value = (r"\bfseries " if bold else "") + _fixed(found.mean * scale, digits)
    if isnan(found.low) or isnan(found.high):
        return [value, ""]
    low, high = (_fixed(bound * scale, digits).replace("-", "$-$") for bound in (found.low, found.high))
    return [value, rf"{{\scriptsize [{low}, {high}]}}"]


def _fixed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: no "-0.0"


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _shared_flags(table: PaperTable) -> list[str]:
    """Flags of every row, said once below the table."""
    sets = [set(row.flags) for row in table.rows]
    return sorted(set.intersection(*sets)) if len(sets) > 1 else []


def _letters(table: PaperTable, everywhere: list[str]) -> dict[str, str]:
    """A letter for each flag that some rows carry, in the order in which they appear; after z come aa, ab."""
    flags = [f for f in dict.fromkeys(flag for row in table.rows for flag in row.flags) if f not in everywhere]
    return {flag: _letter(number) for number, flag in enumerate(flags)}


def _letter(number: int) -> str:
    return (_letters_before(number) if number >= len(_LETTERS) else "") + _LETTERS[number % len(_LETTERS)]


def _letters_before(number: int) -> str:
    return _letter(number // len(_LETTERS) - 1)


def _notes(table: PaperTable, letters: dict[str, str], everywhere: list[str]) -> list[str]:
    """Lines below the table: why a track is void, what flags mean, and the table's own notes."""
    said = [f"Void: {escape(words)}." for words in table.void]
    said += [
        rf"\textsuperscript{{{letter}}}\,{escape(flag)}: {escape(explain_flag(flag))}."
        for flag, letter in letters.items()
    ]
    said += [f"Every row: {escape(flag)} ({escape(explain_flag(flag))})." for flag in everywhere]
    said += [escape(note) for note in table.notes]
    if not said:
        return []
    opening = r"\par\vspace{3pt}\begin{minipage}{\linewidth}\scriptsize\raggedright"
    return [opening, " \\par\n".join(said), r"\end{minipage}"]

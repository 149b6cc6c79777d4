"""Two runs compared, in words: lines for a terminal, and a page in Markdown for a pull request or a job's summary."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from leakbench.runtime.errors import to_printable
from leakbench.statistics import Estimate

from ..reading.formatting import count_noun, format_p
from ..reading.markdown import markdown_table
from .diff import RunDiff
from .diff_rows import DiffRow

_TITLES = ["", "point", "attack", "metric", "old", "new", "difference [95 %]", "p", "compared"]
_NONE = "-"
_MOST = 3  # rows, points and records that are named
_MOST_CHANGES = 10  # of a kind
_COLUMNS = 80


def format_summary(diff: RunDiff) -> str:
    """ "Of 34 rows 2 moved beyond noise: 1 worse, 1 better; 3 not compared.", above missing records and void tracks."""
    counts = diff.counts
    words = f"Of {count_noun(len(diff.rows) - counts['not compared'], 'row')} "
    if not diff.has_compared:
        words = "No row could be compared"
    elif diff.moved:
        words += f"{len(diff.moved)} moved beyond noise: {counts['worse']} worse, {counts['better']} better"
    else:
        words += "none was shown to move"
    left = f"; {counts['not compared']} not compared" if counts["not compared"] else ""
    lines = [f"{words}{left}."]
    if diff.missing:
        what = count_noun(len(diff.missing), "record")
        verb = "is" if len(diff.missing) == 1 else "are"
        lines.append(f"Missing: {what} that the new run's plan asks for {verb} not there: {_list_some(diff.missing)}.")
    return "".join(f"{to_printable(line)}\n" for line in [*lines, *diff.void])


def format_terminal(diff: RunDiff) -> str:
    """For 80 columns: the summary, what moved, the number of other rows, what was not compared, and what changed."""
    rest = diff.counts["no change shown"]
    counted = [f"No change shown in {count_noun(rest, 'row')} (--markdown FILE lists all)."] if rest else []
    told = [f"not compared: {who}: {why}" for why, who in _by_reason(diff).items()]
    blocks = [
        format_summary(diff).splitlines(),
        [line for row in diff.moved for line in _two_lines(row)],
        counted,
        told,
        _list_changes(diff),
    ]
    return "\n".join("".join(map(_wrap, block)) for block in blocks if block)


def _two_lines(row: DiffRow) -> list[str]:
    """A row that moved: which it is, and by how much."""
    _, point, attack, metric, old, new, difference, p, compared = _cells(row)
    p = f"p {p}" if p.startswith("<") else f"p = {p}"
    return [
        f"{row.outcome}: {metric} of {point} by {attack}: {old} -> {new}",
        f"  difference {difference}, {p}, {compared}",
    ]


def _list_changes(diff: RunDiff) -> list[str]:
    """A line for each setting, at most so many of a kind, and one for all points that one run has alone."""
    lines = []
    for kind in dict.fromkeys(one.kind for one in diff.changes):
        some = [one for one in diff.changes if one.kind == kind]
        if kind in ("points", "attacks"):
            sides = {"old": [one.what for one in some if one.old], "new": [one.what for one in some if one.new]}
            lines += [f"{kind}: {_list_some(names)} in the {side} run only" for side, names in sides.items() if names]
            continue
        lines += [
            f"{kind}: {one.what}: {one.old or 'nothing'} -> {one.new or 'nothing'}" for one in some[:_MOST_CHANGES]
        ]
        if len(some) > _MOST_CHANGES:
            lines.append(f"{kind}: {len(some) - _MOST_CHANGES} more (--markdown FILE lists all)")
    return lines


def _wrap(line: str) -> str:
    indent = " " * (4 if line.startswith(" ") else 2)
    whole = to_printable(line)
    return (
        textwrap.fill(whole, _COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False) + "\n"
    )


def format_markdown(diff: RunDiff) -> str:
    """A page: the summary, what moved, what changed besides, and all other rows folded away."""
    parts = [f"## Compared with the run before\n\n{_escape(format_summary(diff))}"]
    if diff.moved:
        parts.append(_table([_cells(row) for row in diff.moved]))
    if diff.changes:
        changed = [[one.kind, one.what, one.old or _NONE, one.new or _NONE] for one in diff.changes]
        parts.append(markdown_table(["changed", "what", "old", "new"], [[_escape(x) for x in row] for row in changed]))
    parts += [f"Not compared: {_escape(who)}: {_escape(why)}.\n" for why, who in _by_reason(diff).items()]
    rest = [_cells(row) for row in diff.rows if row.outcome == "no change shown"]
    if rest:
        parts.append(_fold(f"No change shown in {count_noun(len(rest), 'row')}", _table(rest)))
    left = [[*_cells(row)[1:6], row.reason] for row in diff.rows if row.outcome == "not compared"]
    if left:
        cells = [[_escape(cell) for cell in row] for row in left]
        page = markdown_table([*_TITLES[1:6], "reason"], cells)
        parts.append(_fold(f"{count_noun(len(left), 'row')} not compared", page))
    return "\n".join(parts)


def _fold(title: str, page: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{page}\n</details>\n"


def _cells(row: DiffRow) -> list[str]:
    seeds = f"{row.seeds[0]}" if row.paired else f"{row.seeds[0]} and {row.seeds[1]}"
    noun = "seed" if row.seeds == (1, 1) and row.paired else "seeds"
    return [
        row.outcome,
        row.point,
        f"{row.attack}, {row.access}",
        row.metric,
        _number(row.old),
        _number(row.new),
        _interval(row.difference),
        format_p(row.p_value),
        f"{_how(row)}, {seeds} {noun}",
    ]


def _how(row: DiffRow) -> str:
    if row.paired:
        return "paired"
    return f"unpaired ({row.unpaired})" if row.unpaired else "unpaired"


def _number(found: Estimate | None) -> str:
    return _NONE if found is None else f"{found.value:.3g}"


def _interval(found: Estimate | None) -> str:
    return _NONE if found is None else f"{found.value:+.3g} [{found.low:+.3g}, {found.high:+.3g}]"


def _by_reason(diff: RunDiff) -> dict[str, str]:
    """The rows that were not compared, in words, by the reason."""
    found: dict[str, dict[str, None]] = {}
    for row in diff.rows:
        if row.reason:
            found.setdefault(row.reason, {})[f"{row.point} by {row.attack}"] = None
    return {why: _list_some(list(who)) for why, who in found.items()}


def _list_some(words: Sequence[str]) -> str:
    more = f" and {len(words) - _MOST} more" if len(words) > _MOST else ""
    return ", ".join(words[:_MOST]) + more


def _table(rows: list[list[str]]) -> str:
    return markdown_table(_TITLES, [[_escape(cell) for cell in row] for row in rows])


def _escape(text: str) -> str:
    """Text whose markup stands as letters; its own line breaks are kept."""
    lines = (to_printable(line).replace("&", "&amp;").replace("<", "&lt;") for line in text.split("\n"))
    return "\n".join(lines)

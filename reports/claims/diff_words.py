"""Two runs compared, in words: lines for a terminal, and a page in Markdown for a pull request or a job's summary."""

from __future__ import annotations

from leakbench.runtime.errors import to_printable
from leakbench.statistics import Estimate

from ..reading.formatting import count_noun, format_p
from ..reading.markdown import markdown_table
from .diff import RunDiff
from .diff_rows import DiffRow
from .diff_setting import SettingChange

_TITLES = ["", "point", "attack", "metric", "old", "new", "difference [95 %]", "p", "compared"]
_NONE = "-"
_MOST = 3  # rows that are named


def format_summary(diff: RunDiff) -> str:
    """ "Of 34 rows 2 moved beyond noise: 1 worse, 1 better; 3 not compared.", below void tracks."""
    counts = diff.counts
    words = f"Of {count_noun(len(diff.rows) - counts['not compared'], 'row')} "
    if diff.moved:
        words += f"{len(diff.moved)} moved beyond noise: {counts['worse']} worse, {counts['better']} better"
    else:
        words += "none was shown to move"
    left = f"; {counts['not compared']} not compared" if counts["not compared"] else ""
    return "".join(f"{to_printable(one)}\n" for one in diff.void) + f"{words}{left}.\n"


def format_terminal(diff: RunDiff) -> str:
    """All rows in columns, those that moved first; what was not compared, with the reason; what changed besides."""
    rows = [_cells(row) for row in _ordered(diff)]
    table = [_TITLES, *([to_printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(_TITLES))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    told = [f"not compared: {who}: {why}" for why, who in _by_reason(diff).items()]
    changes = [f"{one.kind}: {_words(one)}" for one in diff.changes]
    blocks = [lines if rows else [], told, changes]
    return "\n\n".join("\n".join(map(to_printable, block)) for block in blocks if block) + "\n"


def format_markdown(diff: RunDiff) -> str:
    """A page: the summary, what moved, what changed besides, and all rows folded away."""
    parts = [f"## Compared with the run before\n\n{_escape(format_summary(diff))}"]
    if diff.moved:
        parts.append(_table([_cells(row) for row in diff.moved]))
    if diff.changes:
        changed = [[one.kind, one.what, one.old or _NONE, one.new or _NONE] for one in diff.changes]
        parts.append(markdown_table(["changed", "what", "old", "new"], [[_escape(x) for x in row] for row in changed]))
    parts += [f"Not compared: {_escape(who)}: {_escape(why)}.\n" for why, who in _by_reason(diff).items()]
    rest = [_cells(row) for row in diff.rows if row.outcome == "not shown to move"]
    if rest:
        parts.append(f"<details><summary>{len(rest)} rows not shown to move</summary>\n\n{_table(rest)}\n</details>\n")
    return "\n".join(parts)


def _ordered(diff: RunDiff) -> list[DiffRow]:
    return [*diff.moved, *(row for row in diff.rows if row.outcome == "not shown to move")]


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
        f"{'paired' if row.paired else 'unpaired'}, {seeds} {noun}",
    ]


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


def _list_some(words: list[str]) -> str:
    more = f" and {len(words) - _MOST} more" if len(words) > _MOST else ""
    return ", ".join(words[:_MOST]) + more


def _words(change: SettingChange) -> str:
    if change.kind in ("points", "attacks"):
        return f"{change.what} in the {'old' if change.old else 'new'} run only"
    return f"{change.what}: {change.old or 'nothing'} -> {change.new or 'nothing'}"


def _table(rows: list[list[str]]) -> str:
    return markdown_table(_TITLES, [[_escape(cell) for cell in row] for row in rows])


def _escape(text: str) -> str:
    """Text whose markup stands as letters; its own line breaks are kept."""
    lines = (to_printable(line).replace("&", "&amp;").replace("<", "&lt;") for line in text.split("\n"))
    return "\n".join(lines)

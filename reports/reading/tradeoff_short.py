"""The trade-off in few columns, for a terminal and a notebook: what stands in every row is said once below.

Columns: release, distance, answers (samples, where nothing else was asked for), weights, copies, flags. The rest stands
in `tradeoff_text.py`. Implementation choice: of two measures of copying the one is shown that finds the most, by the
largest lower bound of any release.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan

from leakbench.results.run_folder import RunFolder

from .aggregate import Aggregate
from .distances import distance_name, find_floor, images_a_side
from .formatting import NOTHING, format_ci, format_distance, join_words, rate_title
from .leakage import Leak
from .selection import copy_attacks
from .tradeoff import TradeoffRow, list_rows, shown_levels
from .tradeoff_axes import DISTANCES
from .verdicts import leak_kind

RELEASE, DISTANCE, COPIES, FLAGS = "release", "distance", "copies, %", "flags"
_NAMES = {"DENOISER": "answers", "WEIGHTS": "weights", "SAMPLES": "samples"}  # by the title of the access level
_MEANT = {
    "answers": "AUC of the strongest attack on what the release answers",
    "weights": "of the strongest on its weights",
    "samples": "AUC of the strongest attack on its samples",
}


@dataclass(frozen=True)
class ShortTable:
    """Titles, cells by row ("value [low, high]", flags with commas between), and lines to stand below."""

    titles: list[str]
    cells: list[list[str]]
    notes: list[str]


def shorten_tradeoff(run: RunFolder) -> ShortTable:
    """The table of a run, a row a release in the order of the suite."""
    rows, levels = list_rows(run), shown_levels(run)
    names = {level: _NAMES[title] for level, title in levels.items()}
    shared = set.intersection(*(set(row.flags) for row in rows)) if rows else set()
    copying = _widest_copying(rows)
    columns = {RELEASE: [row.point.name for row in rows]}
    columns[DISTANCE] = [format_distance(row.distances[DISTANCES[0]]) for row in rows]
    columns |= {name: [format_ci(row.leaks[level].auc) for row in rows] for level, name in names.items()}
    if copying:
        columns[COPIES] = [format_ci(row.copies[copying], 1, 100) for row in rows]
    columns[FLAGS] = [", ".join(flag for flag in row.flags if flag not in shared) for row in rows]
    said = _leave_out(columns, many=len(rows) > 1)
    notes = [*_explain(run, rows, names, columns, copying), *said, *_leaks_by_rate(run, rows, names)]
    if shared:
        notes.append(f"every row: {', '.join(sorted(shared))} (report.md explains)")
    return ShortTable(list(columns), [list(row) for row in zip(*columns.values(), strict=True)], notes)


def _widest_copying(rows: list[TradeoffRow]) -> str:
    """The attack on copies with the largest lower bound; the first of equals; empty without any."""

    def least(attack: str) -> float:
        found = [row.copies[attack] for row in rows]
        return max((_least(one) for one in found if one is not None), default=-1.0)

    return max(rows[0].copies, key=least, default="") if rows else ""


def _least(found: Aggregate) -> float:
    summary = found.summary
    return summary.mean if isnan(summary.low) else summary.low


def _leave_out(columns: dict[str, list[str]], many: bool) -> list[str]:
    """Take out the columns that tell no release from another, and say what stood in them."""
    said, answers = [], columns.get("answers")
    if answers is not None and columns.get("weights") == answers:
        del columns["weights"]
        said.append("weights: as answers, at every release")
    for name in [name for name in columns if name not in (RELEASE, FLAGS)]:
        cells = set(columns[name])
        if cells == {NOTHING}:
            said.append(f"{name}: not measured")
        elif many and len(cells) == 1:
            said.append(f"{name}: {cells.pop()} at every release")
        else:
            continue
        del columns[name]
    if not any(columns[FLAGS]):
        del columns[FLAGS]
    return said


def _explain(
    run: RunFolder, rows: list[TradeoffRow], names: dict[str, str], columns: dict[str, list[str]], copying: str
) -> Iterator[str]:
    """A line a column: what its numbers are."""
    floor = find_floor(run)
    if DISTANCE in columns:
        real = f"; of real to real images {format_distance(floor)} (the floor)" if floor else ""
        sizes = join_words(list(map(str, images_a_side(run))))
        yield f"distance: {distance_name(run)} to held-out images{real}; of {sizes} a side: of more it is smaller"
    shown = [name for name in names.values() if name in columns]
    if shown:
        attacks = join_words(_list_attacks([row.leaks[level] for row in rows for level in names]))
        yield f"{', '.join(shown)}: {', '.join(_MEANT[name] for name in shown)} (0.5: no leak seen), by {attacks}"
    if copying:
        how = copy_attacks(run)[copying]
        yield f"copies: samples that copy a training image, beyond the share of real ones, by {how}"


def _list_attacks(leaks: list[Leak]) -> list[str]:
    """The attacks that stand in the cells, each once, those that stand most often first."""
    found = [name.removesuffix(" (inverted)") for leak in leaks if leak.attack for name in leak.attack.split(" / ")]
    return sorted(set(found), key=lambda name: (-found.count(name), name))


def _leaks_by_rate(run: RunFolder, rows: list[TradeoffRow], names: dict[str, str]) -> Iterator[str]:
    """Releases of which the TPR shows a leak that the AUC in the table does not."""
    for level, name in names.items():
        where = [row.point.name for row in rows if row.point.role != "control" and _by_rate_alone(row.leaks[level])]
        if where:
            yield f"{name}: {rate_title(run.plan.headline)} shows a leak that the AUC does not, at {join_words(where)}"


def _by_rate_alone(leak: Leak) -> bool:
    if leak.auc is None or leak.auc.estimate.exact is not None:
        return False
    return leak.auc.summary.low <= 0.5 <= leak.auc.summary.high and leak_kind(leak) == "leaks"

"""Sets of images: how many an owner needs to tell whether they were trained on, and how large a share of a set was."""

from __future__ import annotations

from typing import Any

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Summary

from ..reading.aggregate import summarise_metric
from ..reading.attack_ranking import rank_results, repeats_reference
from ..reading.attack_results import AttackResult
from ..reading.formatting import NOTHING, drop_empty_columns, format_ci

_VALUE, _NULL, _NEEDED = "set_p_value@{}=", "set_null_p_value@{}=", "set_{}_needed"  # of images, or of groups
_UNITS = "images", "groups"
_SHARE = "share_estimate@share="


def sets(run: RunFolder) -> tuple[list[str], list[list[str]]] | None:
    """A row a point and attack, as text: the mean p value by set size; None without such attacks.

    A row that is the same computation without protection is not repeated.
    """
    ranked = [row for point in run.plan.points for row in rank_results(run, point)]
    rows = [row for row in ranked if _list_sizes(row, _VALUE) and not repeats_reference(run, row)]
    if not rows:
        return None
    sizes = sorted(
        {found for row in rows for found in _list_sizes(row, _VALUE)}, key=lambda one: (one[0] != "images", one)
    )
    named = [f"p, {size} {unit}" for unit, size in sizes]
    titles = ["point", "attack", "needs", *named, "p < 0.01 from", "null"]
    return drop_empty_columns(titles, [_cells(row, sizes) for row in rows])


def shares(run: RunFolder) -> tuple[list[str], list[list[str]]] | None:
    """A row a point and attack, as text: the estimated share of members in sets of a known share; None without any."""
    rows = [row for point in run.plan.points for row in rank_results(run, point) if _shares(row.records)]
    rows = [row for row in rows if not repeats_reference(run, row)]
    if not rows:
        return None
    known = sorted({share for row in rows for share in _shares(row.records)}, key=float)
    titles = ["point", "attack", "needs", *(f"{float(share):.0%} in truth".replace("%", " %") for share in known)]
    cells = [
        [row.point.name, row.attack, row.access, *(format_ci(row.aggregate(f"{_SHARE}{share}")) for share in known)]
        for row in rows
    ]
    return titles, cells


def _shares(records: tuple[Record, ...]) -> set[str]:
    names = {metric.name for record in records for metric in record.metrics if metric.name.startswith(_SHARE)}
    return {name.removeprefix(_SHARE) for name in names}


def _list_sizes(row: AttackResult, metric: str) -> list[tuple[str, int]]:
    """Units and sizes of the sets that some record tells of, ascending."""
    found = set()
    for unit in _UNITS:
        prefix = metric.format(unit)
        names = {one.name for record in row.records for one in record.metrics if one.name.startswith(prefix)}
        found |= {(unit, int(name.removeprefix(prefix))) for name in names}
    return sorted(found)


def _cells(row: AttackResult, sizes: list[tuple[str, int]]) -> list[str]:
    found = [_p(summarise_metric(row.aggregate(f"{_VALUE.format(unit)}{size}"))) for unit, size in sizes]
    return [row.point.name, row.attack, row.access, *found, _needed(row), _null(row)]


def _p(found: Summary | None) -> str:
    return "< 0.001" if found is not None and found.high < 0.001 else format_ci(found, 3)


def _needed(row: AttackResult) -> str:
    """The size from which the p value is small, for each seed; beyond the sizes that were tried nothing is known."""
    unit, most = _list_sizes(row, _VALUE)[-1]
    needed = [record.info.get(_NEEDED.format(unit)) for record in row.records]
    return " / ".join(dict.fromkeys(f"{n} {unit}" if n else f"not with {most}" for n in needed))


def _null(row: AttackResult) -> str:
    """The mean p value of nonmembers at the largest size that there were enough of."""
    sizes = _list_sizes(row, _NULL)
    if not sizes:
        return NOTHING
    unit, size = sizes[-1]
    found = summarise_metric(row.aggregate(f"{_NULL.format(unit)}{size}"))
    return f"{format_ci(found, 2)} ({size} {unit})"


TEMPLATE = """\
## Sets of images

Can an owner of several images tell that they were trained on, where no single image can be told?

{% if cells %}
{{ table(titles, cells) }}
Mean p value (Welch's test) over 1,000 draws of that many members and as many nonmembers; where images come in groups,
of so many groups (people), each by its mean score. In brackets the central 95 %
of the draws, which is the luck of the draw and not an interval of the mean. "Null": nonmembers against other
nonmembers, which must stay near 0.5.

{% endif %}
{% if share_cells %}
How large a share of a set was trained on? Estimated by the attack (DUCI) for sets of which the report knows the truth:

{{ table(share_titles, share_cells) }}
Each set has as many images as the smaller reported side. In brackets the 95 % interval, which holds the errors of the
attack's two rates as well; from 0 to 1 where the attack tells nothing.

{% endif %}
"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The tables; None without attacks on sets."""
    (titles, cells), (share_titles, share_cells) = (found(run) or ([], []) for found in (sets, shares))
    told = {"titles": titles, "cells": cells, "share_titles": share_titles, "share_cells": share_cells}
    return told if cells or share_cells else None

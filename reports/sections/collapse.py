"""Mode collapse: are copies of one training image, returned over and over, or of many.

The section appears where some point copies beyond its null. Implementation choice: a point has collapsed where more
than half of its samples copy one image, by the interval.
"""

from __future__ import annotations

from typing import Any

from leakbench.results.metric_specs import COPY_EXCESS
from leakbench.results.run_folder import RunFolder

from ..reading.aggregate import summarise_metric
from ..reading.attack_results import AttackResult
from ..reading.formatting import drop_empty_columns, format_ci, format_percent
from ..reading.replication import list_copy_results

_SHARE = "most_copied_share"
_HALF = 0.5


def list_rows(run: RunFolder) -> list[AttackResult]:
    """Results that counted copies of one image, of every point; empty where nothing was copied beyond chance."""
    found = [row for point in run.plan.points for row in list_copy_results(run, point) if row.aggregate(_SHARE)]
    return found if any(_copied(row) for row in found) else []


def format_collapse(run: RunFolder) -> tuple[list[str], list[list[str]]]:
    """Titles and cells: a row a point and attack."""
    titles = ["point", "attack", "copies", "of the one image copied most", "training images copied"]
    return drop_empty_columns(titles, [_cells(row) for row in list_rows(run)])


def list_collapsed(run: RunFolder) -> list[str]:
    """Points at which most samples copy one training image; where attacks do not agree, with those that say so."""
    every: dict[str, list[AttackResult]] = {}
    for row in list_rows(run):
        every.setdefault(row.point.name, []).append(row)
    found = []
    for name, of_it in every.items():
        say = [row.attack for row in of_it if (share := row.aggregate(_SHARE)) and share.summary.low > _HALF]
        if say:
            found.append(name if len(say) == len(of_it) else f"{name} (by {' and '.join(say)} alone)")
    return found


def _copied(row: AttackResult) -> bool:
    excess = row.aggregate(COPY_EXCESS)
    return excess is not None and excess.summary.low > 0


def _cells(row: AttackResult) -> list[str]:
    rate, share, unique = (summarise_metric(row.aggregate(name)) for name in ("copy_rate", _SHARE, "unique_copies"))
    return [row.point.name, row.attack, format_percent(rate), format_percent(share), format_ci(unique, 0)]


TEMPLATE = """\
## Copies of one image, or of many

{{ table(titles, cells) }}
{% if points %}
**Mode collapse**, more than half of all samples copying one training image, at: {{ points | join_words }}.

{% endif %}
"Of the one image copied most": the share of all samples that copy that image. Its interval holds for every training
image at once, since which one is copied most was read off the same samples. Copies by chance are among them. Fewer
copies do not show that the samples are good, or that they show what their prompt asks for: see their distance to
held-out images, and look at them.

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The table; None where nothing was copied beyond chance."""
    titles, cells = format_collapse(run)
    return {"titles": titles, "cells": cells, "points": list_collapsed(run)} if cells else None

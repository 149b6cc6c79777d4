"""Forgetting in words: which points have forgotten, what that did to the rest, and costs at equal forgetting.

Implementation choices: costs are compared among points that have forgotten, each defense at the point of its sweep that
spent the fewest network evaluations, and only with those that started from the same base. Only points that kept the
rest are compared, at a retained distance of 1.5 times the baseline's at most: a method that wrecks the model is quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from ..reading.aggregate import summarise_metric
from ..reading.costs import Cost
from ..reading.distances import distance_name
from ..reading.forgetting import FORGOTTEN, KEPT, LEVEL, Forgetting, list_forgetting
from ..reading.formatting import (
    NOTHING,
    drop_empty_columns,
    format_ci,
    format_distance,
    format_ratio,
    format_significant,
    join_words,
)
from ..reading.points import find_reference

YARDSTICK = "erasediff"  # the method that the others' costs are compared with


def format_forgetting(run: RunFolder, found: list[Forgetting]) -> tuple[list[str], list[list[str]]]:
    """The rows as text: titles and cells, without columns that have nothing to say."""
    titles = ["point", "forget probability", "of real images", f"{distance_name(run)}, retained"]
    titles += ["to that of its baseline", f"forget-set AUC of the strongest at {LEVEL}"]
    return drop_empty_columns(
        [*titles, "seconds, last step", "network evaluations, last step"], [_cells(row) for row in found]
    )


def _cells(row: Forgetting) -> list[str]:
    probability, real, retained, auc = map(summarise_metric, (row.probability, row.real, row.retained, row.auc))
    return [
        *(row.point.name, format_ci(probability), format_ci(real), format_distance(retained)),
        NOTHING if row.ratio is None else format_ratio(row.ratio),
        f"{row.attack} {format_ci(auc)}" if auc else NOTHING,
        *(NOTHING if row.cost.seconds is None else format_significant(row.cost.seconds), _evaluations(row.cost)),
    ]


def _evaluations(cost: Cost) -> str:
    if cost.evaluations is None:
        return NOTHING
    return f"{cost.evaluations:,.0f}" + (" (whole chain)" if cost.whole else "")


def known(run: RunFolder, found: list[Forgetting]) -> bool:
    """True if the baseline makes what was to go: the whole interval of its probability lies above 0.2."""
    baselines = [row for row in found if row.point == find_reference(run, row.point) and row.probability is not None]
    return any(row.probability is not None and row.probability.summary.low > FORGOTTEN for row in baselines)


def verdicts(found: list[Forgetting]) -> tuple[list[str], list[str]]:
    """Points of defenses that have forgotten, in words, and names of those that have not."""
    judged = [row for row in found if row.probability is not None and row.point.is_compared]
    return [_verdict(row) for row in judged if row.forgotten], [row.point.name for row in judged if not row.forgotten]


def _verdict(row: Forgetting) -> str:
    assert row.probability is not None
    rest = "" if row.ratio is None else f" at {format_ratio(row.ratio)}"
    return f"{row.point.name} ({row.probability.summary.mean:.2f}{rest})"


@dataclass(frozen=True)
class Comparison:
    """The costs of the other defenses' points beside one point of the yardstick, in words."""

    point: PlannedPoint
    spent: str
    others: list[str]


def list_comparisons(found: list[Forgetting]) -> list[Comparison]:
    """Comparisons with each id of the yardstick that has forgotten."""
    cheapest = _cheapest(found)
    return [
        Comparison(row.point, _spent(row.cost), [_beside(other, row) for other in cheapest if _comparable(other, row)])
        for row in cheapest
        if row.point.method == YARDSTICK
    ]


def _cheapest(found: list[Forgetting]) -> list[Forgetting]:
    """The point of each defense that forgot with the fewest evaluations; the first of equals."""
    best: dict[str, Forgetting] = {}
    for row in found:
        kept = row.ratio is None or row.ratio <= KEPT
        if row.forgotten and kept and row.point.is_compared and row.cost.evaluations and not row.cost.whole:
            other = best.get(row.point.defense)
            if other is None or row.cost.evaluations < (other.cost.evaluations or 0):
                best[row.point.defense] = row
    return list(best.values())


def _comparable(row: Forgetting, yardstick: Forgetting) -> bool:
    same_base = row.cost.base is not None and row.cost.base == yardstick.cost.base
    return row is not yardstick and same_base


def _spent(cost: Cost) -> str:
    seconds = "" if cost.seconds is None else f", {format_significant(cost.seconds)} s"
    return f"{_evaluations(cost)} network evaluations{seconds}"


def _beside(row: Forgetting, yardstick: Forgetting) -> str:
    """Ratios of costs to those of the yardstick, in both directions."""
    mine, its = row.cost, yardstick.cost
    pairs = [("network evaluations", mine.evaluations, its.evaluations), ("seconds", mine.seconds, its.seconds)]
    ratios = [(what, a / b) for what, a, b in pairs if a and b]
    words = [f"{format_ratio(r)} its {what} (the other way round {format_ratio(1 / r)})" for what, r in ratios]
    rest = "" if row.ratio is None else f"; the rest at {format_ratio(row.ratio)}"
    return f"{row.point.name}: {join_words(words)}{rest}"


TEMPLATE = """\
## Forgetting

{{ table(titles, cells) }}
Forget probability: the probability that a classifier gives to the label to forget, on samples that were asked for it.
Forget-set AUC: images to forget against never-seen ones, by the attack that is the strongest of the trade-off, with the
sign that calibration images asked for; 0.5 is forgotten. Costs are those of the outermost step alone: seconds depend on
the machine and on what else it did, evaluations of the network do not.
{% if whole %}
"(whole chain)": its base is no point of this run, so its evaluations could not be subtracted.
{% endif %}

{% if judged and not known %}
The baseline itself is not shown to make what was to go (its interval does not lie above {{ below }}): it cannot be said
which defense forgot it.

{% elif judged %}
{% if forgotten %}
Forgotten, that is with the whole interval below {{ below }} (in brackets the forget probability, and the distance on
the other labels as a multiple of the baseline's): {{ forgotten | join_words }}.
{% else %}
No defense has forgotten, that is with the whole interval below {{ below }}.
{% endif %}
{% if kept %}
Not shown to have forgotten: {{ kept | join_words }}.
{% endif %}

{% for comparison in comparisons %}
Costs at equal forgetting, beside **{{ comparison.point.name }}** ({{ comparison.spent }}):

{% for words in comparison.others %}
- {{ words }}.
{% else %}
- Nothing else that was built on the same base has forgotten.
{% endfor %}

{% else %}
{% if tried %}
No cost is compared: {{ yardstick }} did not forget here, or its own evaluations are not known.

{% endif %}
{% endfor %}
{% if comparisons %}
Each defense is represented by the point that forgot with the fewest evaluations while the other labels stayed within
1.5 times the baseline's distance. Only points that were run are compared: a finer sweep may find a cheaper one.

{% endif %}
{% endif %}

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The table, who has forgotten, and at what cost; None where nothing was to be forgotten."""
    found = list_forgetting(run)
    if not found:
        return None
    titles, cells = format_forgetting(run, found)
    forgotten, kept = verdicts(found)
    return {
        **{"titles": titles, "cells": cells, "below": FORGOTTEN, "whole": any(row.cost.whole for row in found)},
        **{"judged": bool(forgotten or kept), "known": known(run, found), "forgotten": forgotten, "kept": kept},
        **{"comparisons": list_comparisons(found), "yardstick": YARDSTICK},
        "tried": any(row.point.method == YARDSTICK for row in found),
    }

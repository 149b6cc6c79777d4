"""Composition: several defenses on top of each other, beside each of them alone, in one table.

A stack "adds" where it leaks less than every part of it that was run, and a step "cancels" something where the stack
leaks more than a part. What happened to a guarantee on the way stands in the table and below it.
"""

from __future__ import annotations

from typing import Any

from leakbench.results.metric_specs import COPY_EXCESS
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from ..reading.adaptive import strongest_adaptive
from ..reading.aggregate import aggregate
from ..reading.auditing import list_audits
from ..reading.changes import SAME
from ..reading.composition import Stack, list_family, list_stacks, list_steps
from ..reading.distances import distance_name, heldout_distance
from ..reading.formatting import (
    NOTHING,
    drop_empty_columns,
    format_ci,
    format_distance,
    format_percent,
    join_words,
)
from ..reading.guarantees import find_guarantee
from ..reading.leakage import collect_leak
from ..reading.marks import find_marks
from ..reading.points import TRADEOFF_LEVELS
from ..reading.selection import copy_attacks, quality_records, select_records
from ..reading.standing import read_leak
from ..reading.unlearning import list_curves, list_statistics

_LEVELS = {"DENOISER": "answers", "WEIGHTS": "weights"}


def format_composition(run: RunFolder, points: list[PlannedPoint]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells, a row a point."""
    statistics = list(dict.fromkeys((row.attack, row.name, row.what) for row in list_statistics(run)))
    curves = list(dict.fromkeys((row.attack, row.name, row.what) for row in list_curves(run)))
    titles = ["point", "steps", "epsilon stated"]
    titles += [f"epsilon at least, {words}" for words in _LEVELS.values()]
    titles += [f"AUC of the strongest, {words}" for words in _LEVELS.values()]
    titles += ["AUC of the adaptive attack, answers", "forget probability"]
    titles += [f"{attack}: {what}, excess" for attack, _, what in (*statistics, *curves)]
    titles += [f"copies beyond their null ({label})" for label in copy_attacks(run).values()]
    titles.append(f"{distance_name(run)} (held-out)")
    return drop_empty_columns(titles, [_cells(run, point, statistics, curves) for point in points])


def _cells(
    run: RunFolder,
    point: PlannedPoint,
    statistics: list[tuple[str, str, str]],
    curves: list[tuple[str, str, str]],
) -> list[str]:
    measured = quality_records(run, point)
    return [
        *(point.name, " > ".join(list_steps(run, point)) or NOTHING, _guarantee(run, point)),
        *(_bound(run, point, level) for level in _LEVELS),
        *(_leak(run, point, level) for level in _LEVELS),
        format_ci(collect_leak(run, strongest_adaptive(run, point, "DENOISER").values()).auc),
        format_ci(aggregate(measured, "forget_probability")),
        *(_excess(run, point, attack, f"{name}_auc_excess") for attack, name, _ in statistics),
        *(_excess(run, point, attack, f"{name}_excess") for attack, name, _ in curves),
        *(
            format_percent(aggregate(select_records(run, point, "replication", attack), COPY_EXCESS))
            for attack in copy_attacks(run)
        ),
        format_distance(heldout_distance(run, point)) + (" (no row)" if find_marks(run, point.name) else ""),
    ]


def _guarantee(run: RunFolder, point: PlannedPoint) -> str:
    found = find_guarantee(run, point)
    whose = " by group" if found.unit == "group" else ""
    return f"{found.epsilon:.3g}{whose}" if found.epsilon is not None else "void" if found.void else NOTHING


def _bound(run: RunFolder, point: PlannedPoint, level: str) -> str:
    """The one-run bounds of the seeds, each of its ceiling; the answers' where the weights are the same computation."""
    audits = {one.access: one for one in list_audits(run) if one.point == point}
    found = audits.get(level) or audits.get("DENOISER")
    if found is None:
        return NOTHING
    pairs = zip(found.values("epsilon_lower"), found.values("epsilon_ceiling"), strict=True)
    return " / ".join(f"{bound:.2f} of {ceiling:.2f}" for bound, ceiling in pairs)


def _leak(run: RunFolder, point: PlannedPoint, level: str) -> str:
    leak = read_leak(run, point, level)
    return f"{format_ci(leak.auc)} ({leak.attack})" if leak.auc else NOTHING


def _excess(run: RunFolder, point: PlannedPoint, attack: str, metric: str) -> str:
    """An excess over the retrained model at the least access that it was measured at."""
    records = select_records(run, point, "unlearning", attack)
    least = min((record.access for record in records if record.metrics), default="")  # DENOISER before WEIGHTS
    return format_ci(aggregate([record for record in records if record.access == least], metric))


def describe_stack(stack: Stack) -> list[str]:
    """A line an access level: what the stack leaks beside its parts."""
    return [
        f"**{stack.point.name}**, {_LEVELS[level]}: {_verdict(found)}"
        for level in TRADEOFF_LEVELS
        if (found := stack.parts_by_kind(level))
    ]


def _verdict(found: dict[str, list[str]]) -> str:
    words = {
        "fell": "leaks less than",
        "rose": "leaks more than",
        SAME: "the same attack stands, number for number, as at",
        "": "no difference was shown to",
    }
    told = "; ".join(f"{said} {join_words(found[kind])}" for kind, said in words.items() if kind in found)
    if "rose" in found:
        return f"a step cancels some of what its parts give: {told}"
    return f"its steps add up: {told}" if found.keys() == {"fell"} else f"nothing is shown to add up: {told}"


TEMPLATE = """\
## Composition

{{ table(titles, cells) }}
"Steps" stand on each other from left to right. An epsilon holds until a step reads members: above it the claim is void,
and what its noise did is still measured. A bound "of" its ceiling speaks of a training of the whole chain, above a void
claim at the delta of what was lost. An excess is over the same chain without the steps that forget, trained without
what was to go; 0 is as good as retraining.

{% for words in verdicts %}
- {{ words }}.
{% endfor %}
{% for name, words in voids %}
- **{{ name }}**: its guarantee is void, since {{ words }}.
{% endfor %}

The strongest attack on a stack was compared with that on each of its parts, image by image, corrected by Holm for all
comparisons of this section.

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The table and what is said of it; None where no defense stands on another whose parts were run as well."""
    points = list_family(run)
    if not points:
        return None
    titles, cells = format_composition(run, points)
    stacks = [stack for stack in list_stacks(run) if stack.parts]
    lost = [(point.name, why) for point in points if (why := find_guarantee(run, point).void)]
    verdicts = [words for stack in stacks for words in describe_stack(stack)]
    return {"titles": titles, "cells": cells, "verdicts": verdicts, "voids": lost}

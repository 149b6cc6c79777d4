"""Effects of defenses in words: on copying, membership, and the distance to held-out data.

A quantity "moved" from one point to another where a paired test shows it, corrected for all quantities and points of
the run (`reading/changes.py`). Of the rest "no change was shown".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leakbench.results.metric_specs import COPY_EXCESS
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from ..reading.aggregate import aggregate
from ..reading.changes import DISTANCE, Change, describe_change, find_move
from ..reading.distances import distance_name, heldout_distance
from ..reading.formatting import format_ci, format_distance, format_percent, join_words
from ..reading.marks import Mark, find_marks
from ..reading.points import TRADEOFF_LEVELS, find_reference, list_sweeps
from ..reading.selection import copy_attacks, select_records
from ..reading.standing import read_leak
from ..reading.void import list_void_reasons


@dataclass(frozen=True)
class Effect:
    """Changes at a point of a defense: copying by each attack, membership, distance to held-out data.

    marks: why the point's row means nothing; then nothing is said of its changes.
    """

    reference: PlannedPoint
    point: PlannedPoint
    marks: tuple[Mark, ...]
    membership: list[Change]
    copying: list[Change]
    quality: Change

    @property
    def conclusion(self) -> str:
        """A sentence on both directions of the trade, with no more than was shown."""
        moved = {
            "rose": "rose (samples moved away from real data)",
            "fell": "fell (samples moved towards real data)",
            "": "was not shown to change, which does not show that quality is unharmed",
        }[self.quality.kind]
        if not self.copying:
            return f"The distance to held-out data {moved}; copying was not measured."
        return f"Copying {self._copying}; the distance to held-out data {moved}."

    @property
    def _copying(self) -> str:
        """The direction of copying; where the measures differ, by how many it fell or rose."""
        kinds = [change.kind for change in self.copying]
        if len(set(kinds)) <= 1:
            return (kinds or [""])[0] or "was not shown to change"
        counts = [(kind, kinds.count(kind)) for kind in ("fell", "rose") if kind in kinds]
        return join_words([f"{kind} by {n} of {len(kinds)} measures" for kind, n in counts])


def list_effects(run: RunFolder) -> list[Effect]:
    """Effects of every point of each defense, none picked; empty where there is nothing to compare with."""
    swept = [point for sweep in list_sweeps(run).values() for point in sweep]
    return [_effect(run, before, point) for point in swept if (before := find_reference(run, point)) is not None]


def _effect(run: RunFolder, reference: PlannedPoint, point: PlannedPoint) -> Effect:
    copying = [_copying(run, attack, label, reference, point) for attack, label in copy_attacks(run).items()]
    texts = [format_distance(heldout_distance(run, p)) for p in (reference, point)]
    quality = describe_change(f"{distance_name(run)} (held-out)", find_move(run, point, DISTANCE), *texts)
    membership = [_leaking(run, level, reference, point) for level in TRADEOFF_LEVELS]
    if list_void_reasons(run):
        membership = [Change("", "membership: not compared, as the track is void")]
    return Effect(reference, point, find_marks(run, point.name), membership, copying, quality)


def _leaking(run: RunFolder, level: str, reference: PlannedPoint, point: PlannedPoint) -> Change:
    before, after = (read_leak(run, p, level).auc for p in (reference, point))
    what = f"AUC of the strongest attack at {level}"
    return describe_change(what, find_move(run, point, level), format_ci(before), format_ci(after))


def _copying(run: RunFolder, attack: str, label: str, reference: PlannedPoint, point: PlannedPoint) -> Change:
    found = [select_records(run, p, "replication", attack) for p in (reference, point)]
    before, after = (format_percent(aggregate(records, COPY_EXCESS)) for records in found)
    return describe_change(f"copying beyond its null ({label})", find_move(run, point, attack), before, after)


TEMPLATE = """\
## What the defenses moved

{% for effect in effects %}
{% if effect.marks %}
From **{{ effect.reference.name }}** to **{{ effect.point.name }}** nothing is compared:

{% for mark in effect.marks %}
- `{{ mark.flag }}`: {{ mark.words }}.
{% endfor %}
{% else %}
From **{{ effect.reference.name }}** to **{{ effect.point.name }}**:

{% for change in effect.copying + effect.membership + [effect.quality] %}
- {{ change.words }}.
{% endfor %}

{{ effect.conclusion }}
{% endif %}

{% else %}
No defense is compared in this run.

{% endfor %}
{% if effects %}
Two releases share images, noise and the seeds of their samples, so they are compared in pairs, sample by sample and
image by image. The p values are corrected by Holm for all comparisons of this section and of all access levels: where
no defense changes anything, at most 5 in 100 reports say that anything moved. Leakage fell where the attack that
calibration images chose without the defense finds more than every attack of that level does with it. With several
seeds, a quantity moved where it did at each.

{% endif %}
"""


def collect(run: RunFolder) -> dict[str, Any]:
    """The effects of every point of every defense."""
    return {"effects": list_effects(run)}

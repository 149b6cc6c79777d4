"""Audiences of a defense whose answers differ from its weights: what each way of sharing the model leaks.

The ways are: handing out samples, answering queries (of attackers who know the defense or do not), handing out weights.
A statement about several points of a sweep holds for each. Whether a leak is less than without the defense is what
"What the defenses moved" tests (`reading/changes.py`). Attacks that touch nothing of the model are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from ..reading.access_gaps import points_with_a_gap
from ..reading.adaptive import defeat_by_adaptive, strongest_adaptive, strongest_other
from ..reading.changes import find_move
from ..reading.formatting import NOTHING, drop_empty_columns, format_ci, join_words
from ..reading.leakage import collect_leak
from ..reading.marks import find_marks
from ..reading.points import find_reference, measured_levels
from ..reading.scores import same_computation
from ..reading.standing import read_leak
from ..reading.strongest import strongest
from ..reading.verdicts import leak_kind
from ..reading.void import list_void_reasons

SHARES = {
    "SAMPLES": "hands out samples alone",
    "API": "lets others sample and vary images",
    "DENOISER": "answers noise queries",
    "WEIGHTS": "hands out the weights",
}

TITLES = ("point", "samples", "API", "answers, defense unknown", "answers, defense known", "weights")


@dataclass(frozen=True)
class Audience:
    """The points of one defense beside what they are compared with, and the sentences on them."""

    defense: str
    titles: list[str]
    cells: list[list[str]]
    sentences: list[str]


def list_audiences(run: RunFolder) -> list[Audience]:
    """Audiences of each defense whose answers differ from its weights."""
    differing = points_with_a_gap(run)
    found: dict[str, list[PlannedPoint]] = {}
    for point in run.plan.points:
        if point.name in differing and point.is_compared:
            found.setdefault(point.defense, []).append(point)
    return [_audience(run, defense, own) for defense, own in found.items()]


def _audience(run: RunFolder, defense: str, own: list[PlannedPoint]) -> Audience:
    before = list(dict.fromkeys(start for point in own if (start := find_reference(run, point)) is not None))
    titles, cells = drop_empty_columns(list(TITLES), [_cells(run, point) for point in [*before, *own]])
    sentences = [] if list_void_reasons(run) else [_sentence(run, level, own) for level in measured_levels(run)]
    return Audience(defense, titles, cells, [sentence for sentence in sentences if sentence])


def _cells(run: RunFolder, point: PlannedPoint) -> list[str]:
    known, unknown = strongest_adaptive(run, point, "DENOISER"), strongest_other(run, point, "DENOISER")
    return [
        point.name,
        *(_cell(run, strongest(run, point, level)) for level in ("SAMPLES", "API")),
        *(_cell(run, unknown), _cell(run, known), _cell(run, strongest(run, point, "WEIGHTS"))),
    ]


def _cell(run: RunFolder, found: dict[int, Record]) -> str:
    leak = collect_leak(run, found.values())
    return f"{leak.attack} {format_ci(leak.auc)}" if leak.auc else NOTHING


def _sentence(run: RunFolder, level: str, own: list[PlannedPoint]) -> str:
    """A sentence on sharing the model in one way, points with the same outcome together."""
    outcomes: dict[str, list[str]] = {}
    for point in own:
        outcomes.setdefault(_outcome(run, point, level), []).append(_swept(point))
    outcomes.pop("", None)
    if not outcomes:
        return ""
    parts = [f"{words} ({_where(names, own)})" for words, names in outcomes.items()]
    said = f"Whoever **{SHARES[level]}**: {'; '.join(parts)}."
    return f"{said} {_knowing(run, own)}" if level == "DENOISER" else said


def _swept(point: PlannedPoint) -> str:
    """The part of its name that tells a point from the others of its defense."""
    return point.name.removeprefix(f"{point.defense} ")


def _where(names: list[str], own: list[PlannedPoint]) -> str:
    return join_words(names) if len(names) < len(own) or len(own) == 1 else "at every point"


def _outcome(run: RunFolder, point: PlannedPoint, level: str) -> str:
    """The outcome in words; empty where there is nothing to judge."""
    start = find_reference(run, point)
    after, before = strongest(run, point, level), strongest(run, start, level) if start else {}
    kind = leak_kind(read_leak(run, point, level))
    if kind == "unknown":
        return ""
    if marks := find_marks(run, point.name):
        return f"nothing can be said (`{'`, `'.join(mark.flag.value for mark in marks)}`)"
    if start is None or start == point or not before:
        return {"none": "no leak was found", "disagree": "the seeds disagree"}.get(kind, "leaks")
    if after.keys() == before.keys() and all(same_computation(after[seed], before[seed]) for seed in after):
        leak = "no leak was found either way" if kind == "none" else f"leaks what {start.name} leaks"
        return f"gains nothing against these attacks: {leak}, number for number"
    move = find_move(run, point, level)
    moved = move.kind if move is not None else ""
    return _OUTCOMES[kind if kind in ("none", "disagree") else "leaks", moved].format(start.name)


_OUTCOMES = {
    ("none", "fell"): "no leak was found, where {} leaks",
    ("none", ""): "no leak was found, and no difference from {} was shown",
    ("none", "rose"): "no leak was found, and no gain over {}",
    ("leaks", "fell"): "leaks less than {}, and still leaks",
    ("leaks", ""): "leaks, and was not shown to leak less than {}",
    ("leaks", "rose"): "leaks more than {}",
    ("disagree", "fell"): "the seeds disagree on a leak, which is less than that of {}",
    ("disagree", ""): "the seeds disagree on a leak, and no difference from {} was shown",
    ("disagree", "rose"): "the seeds disagree on a leak, which is more than that of {}",
}


def _knowing(run: RunFolder, own: list[PlannedPoint]) -> str:
    """A sentence on attackers who know the defense."""
    attacked = [point for point in own if strongest_adaptive(run, point, "DENOISER")]
    if not attacked:
        return "No attack that knows the defense was run: of an attacker who knows it, this says nothing."
    falls: dict[str, list[str]] = {}
    for point in attacked:
        if (found := defeat_by_adaptive(run, point, "DENOISER")) is not None:
            falls.setdefault(found.adaptive.attack, []).append(_swept(point))
    if not falls:
        return "The attack that knows the defense was not shown to find more than those that do not."
    said = [f"{_where(names, own)} by {attack}" for attack, names in falls.items()]
    return f"An attacker who knows the defense defeats it: {join_words(said)}."


TEMPLATE = """\
## Who may use it

These defenses answer differently from their weights, so it matters what is handed out. The table shows the strongest
attack of each kind and its AUC; on the answers, known and unknown together are what the trade-off shows. Attacks that
touch nothing of the model are left out. It is about membership alone; for copying, see above.

{% for audience in audiences %}
**{{ audience.defense }}**

{{ table(audience.titles, audience.cells) }}
{% for sentence in audience.sentences %}
- {{ sentence }}
{% else %}
Of leakage nothing can be said: the track is void.
{% endfor %}

{% endfor %}

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The ways of sharing each such defense; None where no defense answers differently from its weights."""
    audiences = list_audiences(run)
    return {"audiences": audiences} if audiences else None

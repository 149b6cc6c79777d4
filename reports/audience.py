"""Who may use a defense whose answers differ from its weights: what each way of sharing the model leaks, side by side.

For whoever hands out samples, whoever answers queries, to attackers that do not know the defense and to those that do,
and whoever hands out the weights. What is said of several points of a sweep is said of each. A leak is "less" than
without the defense only where the two AUC intervals have nothing in common. Attacks that touch nothing of the model are
left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder

from .falls import adaptive, fall, unknowing
from .findings import change
from .gaps import gaps
from .measured import leakage, summary_of
from .points import Point, points, reference, strongest
from .scores import same
from .tradeoff import leak_of
from .verdicts import kind_of, levels_tried
from .words import NOTHING, bracket, listed, told

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


def audiences(run: RunFolder) -> list[Audience]:
    """One a defense whose answers differ from its weights."""
    differing = {gap.point for gap in gaps(run)}
    found: dict[str, list[Point]] = {}
    for point in points(run):
        if point.name in differing and point.role == "defense":
            found.setdefault(point.defense, []).append(point)
    return [_audience(run, defense, own) for defense, own in found.items()]


def _audience(run: RunFolder, defense: str, own: list[Point]) -> Audience:
    before = list(dict.fromkeys(start for point in own if (start := reference(run, point)) is not None))
    titles, cells = told(list(TITLES), [_cells(run, point) for point in [*before, *own]])
    sentences = [_sentence(run, level, own) for level in levels_tried(run)]
    return Audience(defense, titles, cells, [sentence for sentence in sentences if sentence])


def at(run: RunFolder, point: Point, level: str) -> dict[int, Record]:
    """The strongest attack that touches the model, with a level's access or less, for each seed."""
    return strongest(run, point, level, among=lambda record: record.access != "NONE")


def _cells(run: RunFolder, point: Point) -> list[str]:
    known, unknown = adaptive(run, point, "DENOISER"), unknowing(run, point, "DENOISER")
    return [
        point.name,
        *(_cell(run, at(run, point, level)) for level in ("SAMPLES", "API")),
        *(_cell(run, unknown), _cell(run, known), _cell(run, at(run, point, "WEIGHTS"))),
    ]


def _cell(run: RunFolder, found: dict[int, Record]) -> str:
    leak = leak_of(run, list(found.values()))
    return f"{leak.attack} {bracket(summary_of(leak.auc))}" if leak.auc else NOTHING


def _sentence(run: RunFolder, level: str, own: list[Point]) -> str:
    """What sharing the model in one way does, the points that do the same together."""
    outcomes: dict[str, list[str]] = {}
    for point in own:
        outcomes.setdefault(_outcome(run, point, level), []).append(_swept(point))
    outcomes.pop("", None)
    if not outcomes:
        return ""
    parts = [f"{words} ({_where(names, own)})" for words, names in outcomes.items()]
    said = f"Whoever **{SHARES[level]}**: {'; '.join(parts)}."
    return f"{said} {_knowing(run, own)}" if level == "DENOISER" else said


def _swept(point: Point) -> str:
    """What tells it from the other points of its defense."""
    return point.name.removeprefix(f"{point.defense} ")


def _where(names: list[str], own: list[Point]) -> str:
    return listed(names) if len(names) < len(own) or len(own) == 1 else "at every point"


def _outcome(run: RunFolder, point: Point, level: str) -> str:
    """In words; empty where there is nothing to judge."""
    start = reference(run, point)
    after, before = at(run, point, level), at(run, start, level) if start else {}
    auc = leakage(after.values(), "auc")
    kind = kind_of(auc)
    if kind == "unknown":
        return ""
    if start is None or start == point or not before:
        return {"none": "no leak was found", "disagree": "the seeds disagree"}.get(kind, "leaks")
    if after.keys() == before.keys() and all(same(after[seed], before[seed]) for seed in after):
        leak = "no leak was found either way" if kind == "none" else f"leaks what {start.name} leaks"
        return f"gains nothing against these attacks: {leak}, number for number"
    moved = change("", summary_of(leakage(before.values(), "auc")), summary_of(auc), ("", "")).kind
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


def _knowing(run: RunFolder, own: list[Point]) -> str:
    """What is known of attackers who know the defense."""
    attacked = [point for point in own if adaptive(run, point, "DENOISER")]
    if not attacked:
        return "No attack that knows the defense was run: of an attacker who knows it, this says nothing."
    falls: dict[str, list[str]] = {}
    for point in attacked:
        if (found := fall(run, point, "DENOISER")) is not None:
            falls.setdefault(found.adaptive.attack, []).append(_swept(point))
    if not falls:
        return "The attack that knows the defense was not shown to find more than those that do not."
    said = [f"{_where(names, own)} by {attack}" for attack, names in falls.items()]
    return f"To an attacker who knows the defense it falls: {listed(said)}."

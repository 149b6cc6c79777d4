"""Claims judged by intervals: holds, broken or undecided, at each point that a claim is about.

A claim holds where the whole interval (at the claim's confidence) lies within its bounds, and is broken where the
whole interval lies outside; a point estimate decides nothing. Of a truth on the bound itself, an interval of 95 % says
"holds" in 2.5 of 100 runs. AUCs are two-sided: "at most 0.6" also asks that the interval stay above 0.4, since an
attack whose members score lower leaks as much.

A claim on a family holds where it holds for each of its attacks, which needs no correction, and is broken where one of
them breaks it at the level corrected for their number. The strongest attack, of all that need the access level or
less, has the interval that the report gives it, and so has each that it was chosen from (strongest.py): intervals that
hold together. "At most" a value asks it of all of them: one that looks weaker, with a wider interval, may lie above
the bound. "At least" a value is the other way round: one attack that reaches it is enough, and it is broken where none
can. Nothing rests on a void track, on a point whose row means nothing, or
on scores that are not finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isinf
from typing import Literal

from leakbench.results.families import FAMILIES
from leakbench.results.flags import Flag
from leakbench.results.metric_specs import find_metric
from leakbench.results.record import ACCESS_LEVELS, Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.runtime.errors import UsageError, nearest_name
from leakbench.statistics import Estimate

from ..reading.formatting import join_words
from ..reading.marks import find_marks
from ..reading.void import list_void_reasons, rests_on_split
from .asked import find_attacks, list_unrecorded, name_fault
from .claim import STRONGEST, Claim
from .evidence import Measured, NoEvidence, measure, measure_difference
from .power import Power, find_power
from .stated import GUARANTEE, find_refutation, find_stated
from .strongest import Together, is_in_family, measure_strongest

_FARTHEST = 1000.0  # half widths from the bound, beyond which no number of images is worth a mention
Outcome = Literal["holds", "broken", "undecided"]


@dataclass(frozen=True, repr=False)
class Judgement:
    """A claim at one point. attack: the strongest, as the report names it; elsewhere the one whose interval lies
    farthest towards the outside; with its `found` interval of a `level`.

    access: the level at which it was judged: of one attack its own, of the strongest the one up to which attacks were
    asked, of a family the claim's, or "any". together: the interval holds for all attacks on the release at once.
    decider: the attack whose interval decides, where it is not the one shown, with its `deciding` interval.
    margin: how far the interval that decides lies within the bounds; negative where it does not: of one that lies
    outside as a whole, how far its nearer end does. reason: why nothing can be said, where that is so. images: how many
    on a side would decide it, were the value what was measured; None where no number would, or where it is decided.
    power: how likely `holds` would have been (power.py). stated: of a guarantee, what stands beside its epsilon.
    """

    claim: Claim
    point: str
    outcome: Outcome
    attack: str = ""
    found: Estimate | None = None
    level: float = 0.0
    margin: float | None = None
    images: int | None = None
    reason: str = ""
    power: Power | None = None
    access: str = ""
    together: bool = False
    decider: str = ""
    deciding: Estimate | None = None
    stated: str = ""

    def __repr__(self) -> str:
        return f"Judgement({self.outcome!r}, {self.claim.name!r}, {self.point!r})"


def decide(found: Estimate, low: float, high: float) -> Outcome:
    """The outcome of one interval beside bounds: holds inside, broken outside, undecided where it reaches across."""
    if low <= found.low and found.high <= high:
        return "holds"
    return "broken" if found.high < low or high < found.low else "undecided"


def judge_claims(run: RunFolder, claims: Sequence[Claim]) -> list[Judgement]:
    """All claims at all their points, in the order of the file. Raises UsageError for a name that the run lacks."""
    return [judgement for claim in claims for judgement in judge_claim(run, claim)]


def judge_claim(run: RunFolder, claim: Claim) -> list[Judgement]:
    """A claim at each point that it is about. Raises UsageError for a name that the run lacks."""
    against = _find_named(run, claim) if claim.against else None
    return [_judge(run, claim, point, against) for point in _find_points(run, claim)]


def _find_points(run: RunFolder, claim: Claim) -> list[PlannedPoint]:
    own = [point for point in run.plan.points if point.defense == claim.defense]
    if not own:
        names = {point.defense for point in run.plan.points}
        raise UsageError(name_fault(run, claim, "defense", claim.defense, nearest_name(claim.defense, names)))
    parameters = {r.point: r.defense_params for r in run.records}
    known = {name for point in own for name in parameters.get(point.name, {})}
    for name in claim.parameters.keys() - known:
        raise UsageError(name_fault(run, claim, "parameters", name, nearest_name(name, known)))
    kept = [p for p in own if all(parameters.get(p.name, {}).get(k) == v for k, v in claim.parameters.items())]
    if not kept:
        raise UsageError(
            name_fault(run, claim, "parameters", claim.parameters, f"it has {', '.join(p.name for p in own)}")
        )
    return kept


def _find_named(run: RunFolder, claim: Claim) -> PlannedPoint:
    for point in run.plan.points:
        if point.name == claim.against:
            return point
    names = {point.name for point in run.plan.points}
    raise UsageError(name_fault(run, claim, "against", claim.against, nearest_name(str(claim.against), names)))


def judge_stated(run: RunFolder, claim: Claim, point: PlannedPoint) -> Judgement:
    """A claim on the epsilon that a point states: it holds where that of each seed lies within the bounds, unless an
    audit refuted it; and is broken where an audit shows more than the bounds allow."""
    (low, high), refuted = claim.bounds, find_refutation(run, point, claim.metric)
    if refuted:
        least, reason = refuted
        return Judgement(claim, point.name, "broken" if least > high else "undecided", reason=reason)
    epsilons, words = find_stated(run, point, claim.metric)
    if not epsilons:
        return Judgement(claim, point.name, "undecided", reason=words)
    ends = min(epsilons), max(epsilons)
    holds = low <= ends[0] and ends[1] <= high
    found = Estimate(ends[0] if ends[0] < low else ends[1], *ends, 0)
    return Judgement(
        *(claim, point.name, "holds" if holds else "broken", "", found, claim.confidence),
        margin=_margin(found, low, high),
        stated=words,
    )


def _judge(run: RunFolder, claim: Claim, point: PlannedPoint, against: PlannedPoint | None) -> Judgement:
    if claim.attack == GUARANTEE:
        return judge_stated(run, claim, point)
    attacks = find_attacks(run, claim, point)
    others = find_attacks(run, claim, against) if against else {}
    if reason := _find_reason(run, claim, [point, *([against] if against else [])], [attacks, others]):
        return Judgement(claim, point.name, "undecided", reason=reason)

    try:
        if is_in_family(run, claim):
            return judge_strongest(claim, point.name, measure_strongest(run, claim, point, attacks), list(attacks))
        return _judge_each(run, claim, point, attacks, others if against else None)
    except NoEvidence as lacking:
        return Judgement(claim, point.name, "undecided", reason=str(lacking))


def judge_strongest(claim: Claim, point: str, found: Together, names: list[str]) -> Judgement:
    """A claim on the strongest attack, by intervals that hold together."""
    low, high = _bounds(claim)
    joined = {"": found.strongest.joined, **{name: one.joined for name, one in found.each.items()}}
    each = {name: decide(one, low, high) for name, one in joined.items()}
    outcomes = set(each.values())
    reach = claim.at_least is not None
    by_all: Outcome = "broken" if reach else "holds"
    by_one: Outcome = "holds" if reach else "broken"
    outcome: Outcome = by_all if outcomes == {by_all} else by_one if by_one in outcomes else "undecided"
    room = {name: min(one.low - low, high - one.high) for name, one in joined.items()}
    if outcome == by_one and each[""] == by_one:
        decider = ""  # the one that is shown is enough
    else:
        ready = [name for name in joined if outcome != by_one or each[name] == by_one]
        decider = (max if reach else min)(ready, key=lambda name: room[name])  # of equals the one that is shown
    parts = found.strongest.parts if reach else [part for one in found.each.values() for part in one.parts]
    return Judgement(
        claim,
        point,
        outcome,
        found.named,
        joined[""],
        claim.confidence,
        _margin(joined[decider], low, high),
        _images(joined[decider], low, high) if outcome == "undecided" else None,
        power=find_power(claim, (low, high), parts, found.level, one_is_enough=reach),
        access=_find_access(claim, names),
        together=True,
        decider=decider,
        deciding=joined[decider] if decider else None,
    )


def _judge_each(
    run: RunFolder,
    claim: Claim,
    point: PlannedPoint,
    attacks: dict[str, list[Record]],
    others: dict[str, list[Record]] | None,
) -> Judgement:
    """A claim on one attack, or on several whose intervals are corrected for their number."""

    def measure_all(level: float) -> dict[str, Measured]:
        if others is None:
            return {name: measure(run, records, claim.metric, level) for name, records in attacks.items()}
        if lacking := sorted(attacks.keys() - others.keys()):
            raise NoEvidence(f"{lacking[0]} was not run at {claim.against}")
        return {
            name: measure_difference(run, records, others[name], claim.metric, level)
            for name, records in attacks.items()
        }

    level = 1 - (1 - claim.confidence) / len(attacks) if len(attacks) > 1 else claim.confidence
    one_is_enough = claim.attack == STRONGEST and claim.at_least is not None
    low, high = _bounds(claim)
    measured = measure_all(claim.confidence)
    found = {name: one.joined for name, one in measured.items()}
    held = not one_is_enough and all(decide(one, low, high) == "holds" for one in found.values())
    corrected = measure_all(level) if len(attacks) > 1 and not held else measured
    strict = {name: one.joined for name, one in corrected.items()}
    outcome = _decide_all(list(found.values()), list(strict.values()), low, high, one_is_enough)
    deciding = strict if one_is_enough else found
    room = {name: min(one.low - low, high - one.high) for name, one in deciding.items()}
    shown = (max if one_is_enough else min)(room, key=lambda name: room[name])
    images = _images(deciding[shown], low, high) if outcome == "undecided" else None
    used = level if one_is_enough else claim.confidence
    parts = corrected[shown].parts if one_is_enough else [part for one in measured.values() for part in one.parts]
    power = find_power(claim, (low, high), parts, used, one_is_enough=one_is_enough)
    return Judgement(
        claim,
        point.name,
        outcome,
        shown,
        deciding[shown],
        used,
        _margin(deciding[shown], low, high),
        images,
        power=power,
        access=_find_access(claim, list(attacks)),
    )


def _margin(found: Estimate, low: float, high: float) -> float:
    if found.low > high:
        return high - found.low
    return found.high - low if found.high < low else min(found.low - low, high - found.high)


def _find_access(claim: Claim, names: Sequence[str]) -> str:
    """The access level at which a claim on attacks, "attack, ACCESS" each, is judged: where it names none, of the
    strongest the most that was measured, of a family any, of one attack the least that was."""
    levels = sorted({name.rpartition(", ")[2] for name in names}, key=ACCESS_LEVELS.index)
    if claim.attack in FAMILIES and len(levels) > 1:
        return "any"
    return claim.access or levels[-1]


def _decide_all(found: list[Estimate], strict: list[Estimate], low: float, high: float, one_is_enough: bool) -> Outcome:
    """The outcome of several attacks; `strict` are their intervals at the level corrected for their number."""
    each, corrected = ([decide(one, low, high) for one in some] for some in (found, strict))
    if one_is_enough:
        return "holds" if "holds" in corrected else "broken" if set(each) == {"broken"} else "undecided"
    return "holds" if set(each) == {"holds"} else "broken" if "broken" in corrected else "undecided"


def _find_reason(
    run: RunFolder, claim: Claim, points: list[PlannedPoint], measured: list[dict[str, list[Record]]]
) -> str:
    """Why nothing can be said of the points, by the records of their attacks; empty where something can."""
    for point in points:
        if lacking := list_unrecorded(run, claim, point):
            return f"{join_words(lacking)} left no record at {point.name}, where the plan asks for it"
    if not measured[0]:
        return "no such attack was run at this point"
    records = [record for attacks in measured for found in attacks.values() for record in found]
    if (void := list_void_reasons(run)) and any(rests_on_split(record) for record in records):
        return f"the track is void: {'; '.join(reason.words for reason in void)}"
    for point in points:
        if marks := find_marks(run, point.name):
            return f"{point.name} means nothing here: {'; '.join(mark.words for mark in marks)}"
    if unrun := next((r for r in records if not r.metrics), None):
        return f"{unrun.attack} was not run: {unrun.info.get('skipped', 'no reason is on record')}"
    if wrong := next((r for r in records if Flag.NON_FINITE in r.flags), None):
        return f"some score of {wrong.attack} was NaN or infinite"
    for attacks in measured:
        for name, found in attacks.items():
            if {record.seed for record in found} != set(run.plan.seeds):
                return f"{name}: not all seeds of the plan are there"
    return ""


def _bounds(claim: Claim) -> tuple[float, float]:
    """The bounds of the interval; of an AUC that is to be low, on both sides of 1/2."""
    low, high = claim.bounds
    two_sided = claim.at_most is not None and not claim.against and find_metric(claim.metric).better == "closest to 0.5"
    return (1 - high, high) if two_sided and high > 0.5 else (low, high)


def _images(found: Estimate, low: float, high: float) -> int | None:
    """The number of images on a side at which the interval would lie on one side of the nearest bound: its half width
    falls with the root of their number."""
    if found.low == found.high:
        return None
    needed = []
    for bound in (bound for bound in (low, high) if not isinf(bound)):
        away = abs(found.value - bound)
        half = found.high - found.value if found.value < bound else found.value - found.low
        if half > away:
            needed.append(ceil(found.n * (half / away) ** 2) if half < _FARTHEST * away else None)
    known = [one for one in needed if one is not None]
    return max(known) if known and len(known) == len(needed) else None

"""Verdicts in plain words: what the strongest attack at each access level shows, by AUC and by headline TPR.

Both are judged, each by its own 95 % interval: an attack may be no better than chance on average and still be sure of
a few images. Where seeds disagree nothing is averaged, and each seed's own verdict stands. Implementation choice: a TPR
at a rate of which fewer than ten false alarms are expected (`few-negatives`) judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.statistics import Estimate, few_negatives, tpr_verdict, verdict

from .adaptive import AdaptiveDefeat, defeat_by_adaptive
from .aggregate import Aggregate
from .leakage import Leak, collect_leak
from .points import ACCESS_LEVELS, find_baseline
from .scores import same_computation
from .strongest import strongest
from .void import list_void_reasons

VOID = "no verdict: the track is void"
_ABOVE_NONE = ACCESS_LEVELS[1:]  # what touches nothing of the model cannot leak it


@dataclass(frozen=True)
class Verdict:
    """The verdict at access levels at which the strongest attack is one computation; `attack` as tables name it."""

    levels: list[str]
    attack: str
    words: str
    defeat: AdaptiveDefeat | None


def list_verdicts(run: RunFolder, point: PlannedPoint) -> list[Verdict]:
    """A verdict for each access level that some attack of the run needs, from the least access up."""
    found: list[tuple[list[str], dict[int, Record], AdaptiveDefeat | None]] = []
    for level in measured_levels(run):
        chosen, its_fall = strongest(run, point, level), defeat_by_adaptive(run, point, level)
        if found and _one(found[-1][1], chosen) and found[-1][2] == its_fall:
            found[-1][0].append(level)
        elif chosen:
            found.append(([level], chosen, its_fall))
    leaks = [(levels, collect_leak(run, list(chosen.values())), fallen) for levels, chosen, fallen in found]
    if list_void_reasons(run):
        return [Verdict(levels, leak.attack, VOID, None) for levels, leak, _ in leaks]
    return [Verdict(levels, leak.attack, judge_leak(leak), fallen) for levels, leak, fallen in leaks]


def verdict_without_model(run: RunFolder) -> str:
    """Verdict on attacks that touch nothing of the model, which is the same at all points; empty without any."""
    first = find_baseline(run)
    leak = collect_leak(run, list(strongest(run, first, "NONE").values())) if first else None
    return f"{leak.attack}: {judge_leak(leak)}" if leak and leak.auc else ""


def measured_levels(run: RunFolder) -> list[str]:
    """The access levels above none that some membership attack of the run was measured at."""
    measured = {record.access for record in run.records if record.family == "membership" and record.metrics}
    return [level for level in _ABOVE_NONE if level in measured]


def _one(first: dict[int, Record], second: dict[int, Record]) -> bool:
    return first.keys() == second.keys() and all(
        first[seed].attack == second[seed].attack and same_computation(first[seed], second[seed]) for seed in first
    )


def judge_leak(leak: Leak) -> str:
    """The two-sided verdict on the strongest attack; where seeds disagree, each seed's own."""
    if leak.auc is None:
        return "nothing to judge: no membership attack was run, or none has a calibration AUC to be chosen by"
    each = {seed: _said(auc, _of(leak.tpr, seed), _target(leak)) for seed, auc in leak.auc.by_seed.items()}
    kind, words = _said(_whole(leak.auc), _whole(leak.tpr), _target(leak))
    if all(found[0] == kind for found in each.values()):
        return words
    return "seeds disagree: " + "; ".join(f"seed {seed}: {found[1]}" for seed, found in each.items())


def verdict_kind(auc: Aggregate | None) -> str:
    """ "leaks", "inverted", "none", "disagree" (seeds) or "unknown" (no interval), by the AUC alone."""
    if auc is None:
        return "unknown"
    kinds = {_said(found, None, 0.0)[0] for found in (*auc.by_seed.values(), _whole(auc))}
    return kinds.pop() if len(kinds) == 1 else "disagree"


def _whole(found: Aggregate | None) -> Estimate:
    return _UNKNOWN if found is None else found.estimate


_UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"), 0)


def _of(found: Aggregate | None, seed: int) -> Estimate:
    return found.by_seed.get(seed, _UNKNOWN) if found else _UNKNOWN


def _target(leak: Leak) -> float:
    """The false-positive rate of a leak's TPR; 0 without one."""
    return float(leak.tpr.metric.rpartition("tpr@fpr=")[2]) if leak.tpr and "tpr@fpr=" in leak.tpr.metric else 0.0


def _said(auc: Estimate, tpr: Estimate | None, target: float) -> tuple[str, str]:
    """Kind and words of one AUC and one TPR, if it has an interval. The AUC's images, or groups, stand for the
    nonmembers as well."""
    if isnan(auc.low) or auc.n < 1:
        return "unknown", f"no interval, so no verdict: AUC {auc.value:.2f}"
    by_auc = verdict(auc)
    if tpr is None or isnan(tpr.low) or not 0 < target < 1 or few_negatives(target, auc.independent):
        return by_auc.kind, by_auc.words
    by_tpr = tpr_verdict(tpr, target, auc.independent)
    area, rate = (words.partition(": ")[2] for words in (by_auc.words, by_tpr.words))
    if by_auc.kind == "inverted":
        return "inverted", f"{by_auc.words}; {rate}"
    if by_tpr.kind == "leaks":
        return "leaks", f"leaks: {rate}; {area}"
    if by_auc.kind == "leaks":
        return "leaks", f"leaks: {area}; not shown at its surest guesses: {rate.partition(', which')[0]}"
    return "none", f"no leak found: {area}; {rate}"

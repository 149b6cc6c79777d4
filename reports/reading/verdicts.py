"""Verdicts in plain words: what the attacks at each access level show, by AUC and by headline TPR.

One family a release (`family.py`): every attack at every level, by AUC and TPR, with intervals that hold together. At
a level stands the attack whose interval shows the most, for the AUC and for the TPR; "leaks" is said whenever one
interval of an attack that needs the level or less excludes chance, so more access never shows less. Both are judged:
an attack may be no better than chance on average and still be sure of a few images. Where seeds disagree nothing is
averaged, and each seed's own verdict stands. Where a release hands out copies, that is the first of its verdicts.
Implementation choice: a TPR at a rate of which fewer than ten false
alarms are expected (`few-negatives`) judges nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.statistics import Estimate, few_negatives, tpr_verdict, verdict

from .adaptive import AdaptiveDefeat, defeat_by_adaptive
from .aggregate import Aggregate, summarise_metric
from .copying import CopyFinding, find_copies
from .formatting import format_ci
from .leakage import Leak
from .points import find_baseline, measured_levels
from .standing import Standing, find_standing, read_leak
from .void import list_void_reasons

VOID = "no verdict: the track is void"


@dataclass(frozen=True)
class Verdict:
    """The verdict at access levels at which the same computations stand; `attack` as tables name it.

    kind: "copies"; of membership "leaks", "inverted", "none" (no leak found), "disagree" (seeds), "unknown" (no
    interval), "control" or "void". The numbers are `leak`'s or those of `copies`.
    """

    levels: list[str]
    attack: str
    words: str
    defeat: AdaptiveDefeat | None
    kind: str = ""
    leak: Leak | None = None
    copies: CopyFinding | None = None


def list_verdicts(run: RunFolder, point: PlannedPoint) -> list[Verdict]:
    """The verdict on copies, if there are any, and one on membership for each access level that some attack of the run
    needs, from the least access up."""
    copies = find_copies(run, point) if point.role != "control" else None
    if copies is None:
        return list_membership_verdicts(run, point)
    first = Verdict([copies.access], copies.attack, copies.words, None, "copies", copies=copies)
    return [first, *list_membership_verdicts(run, point)]


def list_membership_verdicts(run: RunFolder, point: PlannedPoint) -> list[Verdict]:
    """The verdicts on membership, without that on copies."""
    found: list[tuple[list[str], Standing, AdaptiveDefeat | None]] = []
    for level in measured_levels(run):
        standing = find_standing(run, point, level)
        its_fall = defeat_by_adaptive(run, point, level)
        if found and found[-1][1].is_same(standing) and found[-1][2] == its_fall:
            found[-1][0].append(level)
        elif standing.by_auc:
            found.append(([level], standing, its_fall))
    leaks = [(levels, standing.collect(run), fallen) for levels, standing, fallen in found]
    if list_void_reasons(run):
        return [Verdict(levels, leak.attack, VOID, None, "void", leak) for levels, leak, _ in leaks]
    if point.role == "control":
        return [
            Verdict(levels, leak.attack, _describe_control(leak), None, "control", leak) for levels, leak, _ in leaks
        ]
    return [Verdict(at, leak.attack, judge_leak(leak), fallen, leak_kind(leak), leak) for at, leak, fallen in leaks]


def _describe_control(leak: Leak) -> str:
    """What a control shows. No verdict: it holds no member, and `controls` judges all of a run together."""
    return f"a control, which cannot leak: AUC {format_ci(summarise_metric(leak.auc))}"


def verdict_without_model(run: RunFolder) -> str:
    """Verdict on attacks that touch nothing of the model, which is the same at all points; empty without any."""
    first = find_baseline(run)
    leak = read_leak(run, first, "NONE") if first else None
    return f"{leak.attack}: {judge_leak(leak)}" if leak and leak.auc else ""


def judge_leak(leak: Leak) -> str:
    """The two-sided verdict on what stands at a level; where seeds disagree, each seed's own."""
    if leak.auc is None:
        return "nothing to judge: no membership attack was run"
    each = {seed: _said(leak, auc, _of(leak.tpr, seed)) for seed, auc in leak.auc.by_seed.items()}
    kind, words = _said(leak, _whole(leak.auc), _whole(leak.tpr))
    if all(found[0] == kind for found in each.values()):
        return words
    apart = "; ".join(f"seed {seed}: {found[1]}" for seed, found in each.items())
    return apart if len({found[0] for found in each.values()}) == 1 else f"seeds disagree: {apart}"


def leak_kind(leak: Leak) -> str:
    """ "leaks", "inverted", "none", "disagree" (seeds) or "unknown" (no interval), by AUC and TPR of each seed."""
    aucs = leak.auc.by_seed if leak.auc else {}
    kinds = {_said(leak, auc, _of(leak.tpr, seed))[0] for seed, auc in aucs.items()}
    return "unknown" if not kinds else kinds.pop() if len(kinds) == 1 else "disagree"


def verdict_kind(auc: Aggregate | None) -> str:
    """The same by an AUC alone, with its own interval of 95 %."""
    return leak_kind(Leak("", auc, None))


def _whole(found: Aggregate | None) -> Estimate:
    return _UNKNOWN if found is None else found.estimate


_UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"), 0)


def _of(found: Aggregate | None, seed: int) -> Estimate:
    return found.by_seed.get(seed, _UNKNOWN) if found else _UNKNOWN


def _target(leak: Leak) -> float:
    """The false-positive rate of a leak's TPR; 0 without one."""
    return float(leak.tpr.metric.rpartition("tpr@fpr=")[2]) if leak.tpr and "tpr@fpr=" in leak.tpr.metric else 0.0


def _said(leak: Leak, auc: Estimate, tpr: Estimate) -> tuple[str, str]:
    """Kind and words of one AUC and one TPR, if it has an interval. The AUC's images, or groups, stand for the
    nonmembers as well."""
    if isnan(auc.low) or auc.n < 1:
        return "unknown", f"no interval, so no verdict: AUC {auc.value:.2f}"
    by_auc, target = verdict(auc, leak.level), _target(leak)
    if isnan(tpr.low) or not 0 < target < 1 or few_negatives(target, auc.independent):
        return by_auc.kind, by_auc.words
    by_tpr = tpr_verdict(tpr, target, auc.independent, leak.level)
    area, rate = (words.partition(": ")[2] for words in (by_auc.words, by_tpr.words))
    shown = rate.partition(" (")[0]
    if leak.rate_attack:
        rate, shown = (f"{words} (by {leak.rate_attack})" for words in (rate, shown))
    if by_auc.kind == "inverted":
        return "inverted", f"{by_auc.words}; {rate}"
    if by_tpr.kind == "leaks":
        return "leaks", f"leaks: {rate}; {area}"
    if by_auc.kind == "leaks":
        return "leaks", f"leaks: {area}; not shown at its surest guesses: {shown}"
    return "none", f"no leak found: {area}; {rate}"

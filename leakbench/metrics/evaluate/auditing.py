"""Scores of canaries and their coins -> lower bounds of epsilon, each beside the ceiling that their number imposes.

- `epsilon_lower`: the one-run bound (Steinke et al. 2305.08846), at 95 %. It holds: the coins are independent and fair,
  and the number of guesses was fixed beforehand.
- `epsilon_lower_f_dp`: the one-run bound under f-DP (Mahloujifar et al. 2410.22235), at 95 %, where the training states
  the noisy steps that it took. Beyond the coins it takes the mechanism's trade-off curve for that of DP-SGD with the
  stated rates and steps, and leaves open how much noise there was. `info["f_dp_assumes"]` says so.
- `epsilon_lower_clopper_pearson`, `epsilon_lower_gaussian`, `epsilon_lower_bayes`: from the two error rates of one
  rule, a direction and a threshold, frozen on one half of the canaries and measured on the other. Heuristic: they are
  made for independent runs, and canaries of one run are none; the Gaussian one also takes the mechanism for Gaussian,
  and the Bayesian one promises no rate of error. `info["heuristic"]` names them.
- `epsilon_ceiling` and `epsilon_ceiling_...`: what each would be, had no guess been wrong.
- `canary_auc`: how well the scores tell included canaries from the others.

Both one-run bounds look in both directions, each at 2.5 %: an attack that orders the wrong way round shows as much as
its mirror image. `info["reversed"]` says which direction it was.

Where an epsilon is stated and a one-run bound exceeds it, the flag `epsilon-above-guarantee` says so; where a guarantee
holds, that happens in 1 of 20 trainings at most. Of 20,000 simulated trainings of DP-SGD with 300 ideal canaries either
bound exceeded a right claim in 0.01 % at most, and an attack that knows nothing showed more than 0 in 4.2 % at most
(`python tests/leakbench/statistics/test_epsilon_f_dp.py`). Where no ceiling exceeds the stated epsilon,
`ceiling-below-guarantee` says that this audit could not have refuted it: it takes more canaries, or a smaller delta
(the bound by counting pays 2 m delta for it).

Where images come in groups (people, patients) and all of a group had one coin, a canary is a group, scored by the mean
of its images, and all bounds are of epsilon by group (`info["unit"]`). They stand beside what the guarantee states of a
group: its epsilon, where that is its unit, or else `epsilon_by_group`; an epsilon by image is neither refuted by them
nor out of their reach. The curve under f-DP is then that of groups.

The proof takes the mechanism for given before the coins fall. Where a recipe reads the number of images (a sampling
rate, a delta of n^-1.1), it reads how many coins fell heads; that this changes nothing to speak of is assumed.

Choices of ours: the halves are every other canary, in the data set's order; the frozen rule is the one with the largest
Clopper-Pearson bound on its half, of those with equal bounds (0, say) the one with the largest TPR - FPR, of either
direction and at most 512 evenly spaced ranks. Scores that are no numbers count as the lowest, and fail the cell.
"""

from __future__ import annotations

import numpy as np

from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.results.evidence import CanaryEvidence
from leakbench.results.guarantee import Guarantee
from leakbench.results.record import Metric
from leakbench.statistics import (
    EpsilonBound,
    StepCurves,
    auc,
    either_way,
    epsilon_bayes,
    epsilon_clopper_pearson,
    epsilon_gaussian,
    epsilon_one_run,
    epsilon_one_run_f_dp,
    finite,
    flags,
    guesses,
)
from leakbench.statistics.epsilon_one_run import group_canaries
from leakbench.statistics.noisy_steps import is_told_by_group

LEVEL = 0.95
NOTHING_STATED = Guarantee()
_THRESHOLDS = 512
_HEURISTIC = {
    "clopper_pearson": epsilon_clopper_pearson,
    "gaussian": epsilon_gaussian,
    "bayes": epsilon_bayes,
}


def evaluate_auditing(
    evidence: CanaryEvidence, share: float, delta: float, guarantee: Guarantee = NOTHING_STATED
) -> MetricSet:
    """All bounds at `delta` in (0, 1), with `share` of the coins guessed, beside the `guarantee` of the training.

    Where some half of the canaries has no included one, or only such, there are no bounds, and the flag
    `too-few-canaries` says so.
    """
    scores, included, by_group = finite(evidence.scores), evidence.included, evidence.canary_groups is not None
    if evidence.canary_groups is not None:
        scores, included = group_canaries(scores, included, evidence.canary_groups)
    halves = [(scores[first::2], included[first::2]) for first in (0, 1)]
    if any(min(coins.sum(), (~coins).sum()) < 2 for _, coins in halves):
        return MetricSet([], {"too-few-canaries"})
    guessed, right = guesses(scores, included, share)
    bounds = _one_run_bounds(len(scores), guessed, right, delta, curves_of(guarantee, delta, by_group))
    groups = (np.flatnonzero(included), np.flatnonzero(~included)) if by_group else None
    found = MetricSet(
        [one for suffix, bound in bounds.items() for one in _pair(suffix, bound, len(scores))],
        set(flags(scores[included], scores[~included], groups=groups)) | _non_finite(evidence.scores),
        info={"guessed": guessed, "right": right, "reversed": 2 * right < guessed, "delta": delta, "level": LEVEL},
    )
    if by_group:
        found.info["unit"] = "group"
    if "_f_dp" in bounds:
        found.info["f_dp_assumes"] = bounds["_f_dp"].assumes
    found.metrics.append(metric("canary_auc", auc(scores[included], scores[~included])))
    sign, threshold = frozen_rule(*halves[0], delta)
    counts = _counts(sign * halves[1][0], halves[1][1], threshold)
    for name, bound_of in _HEURISTIC.items():
        found.metrics += _pair(f"_{name}", bound_of(*counts, delta), min(counts[1], counts[3]))
    found.info["heuristic"] = [f"epsilon_lower_{name}" for name in _HEURISTIC]
    stated = stated_epsilon(guarantee, by_group)
    if stated is not None:
        found.flags |= _judge(stated, list(bounds.values()))
    return found


def stated_epsilon(guarantee: Guarantee, by_group: bool) -> float | None:
    """The epsilon that bounds by group, or by image, stand beside; None where none is stated by that unit."""
    if by_group:
        return guarantee.by_group
    return None if guarantee.unit == "group" else guarantee.epsilon


def curves_of(guarantee: Guarantee, delta: float, by_group: bool) -> StepCurves | None:
    """The trade-off curves that a guarantee's noisy steps are of, for a group or for an image; None where it states
    none such."""
    if guarantee.epsilon is None or not guarantee.history or guarantee.adjacency != "zero-out":
        return None
    if not by_group:
        return None if guarantee.unit == "group" else StepCurves(guarantee.history, delta)
    group_size = guarantee.group_size or 1
    if guarantee.by_group is None or not is_told_by_group(guarantee.history, group_size):
        return None
    return StepCurves(guarantee.history, delta, group_size)


def _non_finite(scores: np.ndarray) -> set[str]:
    return set() if np.isfinite(scores).all() else {"non-finite"}


def _one_run_bounds(
    canaries: int, guessed: int, right: int, delta: float, curves: StepCurves | None
) -> dict[str, EpsilonBound]:
    """Bounds that hold for one training, by the ending of their metric's name."""
    found = {
        "": either_way(lambda v, level: epsilon_one_run(canaries, guessed, v, delta, level), guessed, right, LEVEL)
    }
    if curves is not None:
        found["_f_dp"] = either_way(
            lambda v, level: epsilon_one_run_f_dp(canaries, guessed, v, curves, level), guessed, right, LEVEL
        )
    return found


def _judge(epsilon: float, bounds: list[EpsilonBound]) -> set[str]:
    """Flags of bounds beside the epsilon that is stated."""
    found = set()
    if any(bound.value > epsilon for bound in bounds):
        found.add("epsilon-above-guarantee")
    if all(bound.ceiling <= epsilon for bound in bounds):
        found.add("ceiling-below-guarantee")
    return found


def frozen_rule(scores: np.ndarray, included: np.ndarray, delta: float) -> tuple[int, float]:
    """The sign and the threshold with the largest Clopper-Pearson bound on these canaries: sign * score >= threshold
    is taken for included."""
    worths = {sign: _best_threshold(sign * scores, included, delta) for sign in (1, -1)}
    sign = max(worths, key=lambda one: worths[one][0])
    return sign, worths[sign][1]


def _best_threshold(scores: np.ndarray, included: np.ndarray, delta: float) -> tuple[tuple[float, float], float]:
    """What the best threshold is worth, and the threshold."""
    candidates = np.unique(scores)
    candidates = candidates[np.linspace(0, len(candidates) - 1, min(_THRESHOLDS, len(candidates))).round().astype(int)]

    inside, outside = np.sort(scores[included]), np.sort(scores[~included])
    accepted = [side.size - np.searchsorted(side, candidates) for side in (inside, outside)]

    def worth(at: int) -> tuple[float, float]:
        tp, fp = (int(counts[at]) for counts in accepted)
        bound = epsilon_clopper_pearson(tp, inside.size, fp, outside.size, delta)
        return bound.value, tp / inside.size - fp / outside.size

    best = max(range(len(candidates)), key=worth)
    return worth(best), float(candidates[best])


def _counts(scores: np.ndarray, included: np.ndarray, threshold: float) -> tuple[int, int, int, int]:
    """True positives, included canaries, false positives, the others."""
    accepted = scores >= threshold
    sides = (accepted & included, included, accepted & ~included, ~included)
    tp, members, fp, nonmembers = (int(side.sum()) for side in sides)
    return tp, members, fp, nonmembers


def _pair(suffix: str, bound: EpsilonBound, n: int) -> list[Metric]:
    return [
        Metric(name=f"epsilon_lower{suffix}", value=bound.value, n=n),
        Metric(name=f"epsilon_ceiling{suffix}", value=bound.ceiling, n=n),
    ]

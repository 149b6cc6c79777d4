"""Scores of canaries and their coins -> lower bounds of epsilon, each beside the ceiling that their number imposes.

- `epsilon_lower`: the one-run bound (Steinke et al. 2305.08846), at 95 %. It holds: the coins are independent and fair,
  and the number of guesses was fixed beforehand.
- `epsilon_lower_clopper_pearson`, `epsilon_lower_gaussian`, `epsilon_lower_bayes`: from the two error rates at one
  threshold, frozen on one half of the canaries and measured on the other. Heuristic: they are made for independent
  runs, and canaries of one run are none; the Gaussian one also takes the mechanism for Gaussian, and the Bayesian one
  promises no rate of error. `info["heuristic"]` names them.
- `epsilon_ceiling` and `epsilon_ceiling_...`: what each would be, had no guess been wrong.
- `canary_auc`: how well the scores tell included canaries from the others.

Where an epsilon is stated and `epsilon_lower` exceeds it, the flag `epsilon-above-guarantee` says so; where a guarantee
holds, that happens in 1 of 20 trainings at most. Where not even the ceiling exceeds the stated epsilon,
`ceiling-below-guarantee` says that this audit could not have refuted it: it takes more canaries, or a smaller delta
(the one-run bound pays 2 m delta for it).

The proof takes the mechanism for given before the coins fall. Where a recipe reads the number of images (a sampling
rate, a delta of n^-1.1), it reads how many coins fell heads; that this changes nothing to speak of is assumed.

Choices of ours: the halves are every other canary, in the data set's order; the frozen threshold is the one with the
largest Clopper-Pearson bound on its half, of those with equal bounds (0, say) the one with the largest TPR - FPR, of at
most 512 evenly spaced ranks. Scores that are no numbers count as the lowest, and fail the cell.
"""

from __future__ import annotations

import numpy as np

from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.results.evidence import CanaryEvidence
from leakbench.results.record import Metric
from leakbench.statistics import (
    EpsilonBound,
    auc,
    epsilon_bayes,
    epsilon_clopper_pearson,
    epsilon_gaussian,
    epsilon_one_run,
    finite,
    flags,
    guesses,
)

_THRESHOLDS = 512
_HEURISTIC = {
    "clopper_pearson": epsilon_clopper_pearson,
    "gaussian": epsilon_gaussian,
    "bayes": epsilon_bayes,
}


def evaluate_auditing(evidence: CanaryEvidence, share: float, delta: float, claimed: float | None = None) -> MetricSet:
    """All bounds at `delta` in (0, 1), with `share` of the coins guessed.

    Where some half of the canaries has no included one, or only such, there are no bounds, and the flag
    `too-few-canaries` says so.
    """
    scores, included = finite(evidence.scores), evidence.included
    halves = [(scores[first::2], included[first::2]) for first in (0, 1)]
    if any(min(coins.sum(), (~coins).sum()) < 2 for _, coins in halves):
        return MetricSet([], {"too-few-canaries"})
    guessed, right = guesses(scores, included, share)
    bound = epsilon_one_run(len(scores), guessed, right, delta)
    found = MetricSet(
        _pair("", bound, len(scores)),
        set(flags(evidence.scores[included], evidence.scores[~included])),
        info={"guessed": guessed, "right": right, "delta": delta, "level": bound.level, "heuristic": []},
    )
    found.metrics.append(metric("canary_auc", auc(scores[included], scores[~included])))
    counts = _counts(*halves[1], frozen_threshold(*halves[0], delta))
    for name, bound_of in _HEURISTIC.items():
        found.metrics += _pair(f"_{name}", bound_of(*counts, delta), min(counts[1], counts[3]))
        found.info["heuristic"].append(f"epsilon_lower_{name}")
    if claimed is not None and bound.value > claimed:
        found.flags.add("epsilon-above-guarantee")
    if claimed is not None and bound.ceiling <= claimed:
        found.flags.add("ceiling-below-guarantee")
    return found


def frozen_threshold(scores: np.ndarray, included: np.ndarray, delta: float) -> float:
    """The threshold with the largest Clopper-Pearson bound on these canaries."""
    candidates = np.unique(scores)
    candidates = candidates[np.linspace(0, len(candidates) - 1, min(_THRESHOLDS, len(candidates))).round().astype(int)]

    inside, outside = np.sort(scores[included]), np.sort(scores[~included])
    accepted = [side.size - np.searchsorted(side, candidates) for side in (inside, outside)]

    def worth(at: int) -> tuple[float, float]:
        tp, fp = (int(counts[at]) for counts in accepted)
        bound = epsilon_clopper_pearson(tp, inside.size, fp, outside.size, delta)
        return bound.value, tp / inside.size - fp / outside.size

    return float(candidates[max(range(len(candidates)), key=worth)])


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

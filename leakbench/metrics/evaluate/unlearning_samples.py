"""Evaluates samples of a label-conditional release for what it still knows of the label that it was to forget.

- forget_probability (EraseDiff 2401.05779, SA 2305.10120: P_psi): the mean probability that a classifier gives to the
  forgotten label, over samples conditioned on it. Low = forgotten. Its yardstick, on held-out real images of that
  label, is forget_probability_real.
- frechet_retained: the Frechet distance of samples conditioned on the other labels to held-out real images of those
  labels. Low = what stays has not suffered.

Choices of ours: the classifier is trained on the `reference` part, so it has seen neither the release nor its training
images; the interval of a mean probability is normal, +- 1.96 standard errors, cut to [0, 1].
"""

from __future__ import annotations

from torch import Tensor

from leakbench.metrics import quality
from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.statistics import Estimate


def evaluate_unlearned_samples(
    label: int, probabilities: Tensor, real_probabilities: Tensor, retained: Tensor, real_retained: Tensor
) -> MetricSet:
    """`probabilities` (N, classes) of samples asked for `label` and (M, classes) of real images of it; `retained` and
    `real_retained`: features (N, D) of samples asked for other labels, and of real images of them. Where any side has
    fewer than two, the flag `forget-set-too-small` says so."""
    if min(len(probabilities), len(real_probabilities), len(retained), len(real_retained)) < 2:
        return MetricSet([], {"forget-set-too-small"})
    return MetricSet(
        [
            metric("forget_probability", mean_probability(probabilities[:, label])),
            metric("forget_probability_real", mean_probability(real_probabilities[:, label])),
            metric("frechet_retained", quality.frechet(retained, real_retained)),
        ]
    )


def mean_probability(values: Tensor) -> Estimate:
    """The mean of probabilities (N,) with its interval. Raises ValueError below two."""
    if len(values) < 2:
        raise ValueError(f"a mean probability needs two images or more, not {len(values)}")
    mean, error = float(values.double().mean()), float(values.double().std()) / len(values) ** 0.5
    return Estimate(mean, max(0.0, mean - 1.96 * error), min(1.0, mean + 1.96 * error), len(values))

"""Evidence of attacks on unlearning -> metrics. NAME is what the attack calls a statistic or a curve.

Of a statistic of images:
- NAME_auc: whether it tells images that were to be forgotten from never-seen ones. 1/2 = it does not. Below 1/2 is
  leakage too (forgotten beyond never having been seen), flagged `inverted` where it lies below the retrained model's as
  well; no sign is ever flipped.
- NAME_auc_retrained: the same images by the model that was trained without them: what the images alone give away.
- NAME_auc_excess: the first minus the second, paired image by image (DeLong). 0 = as if retrained.
- NAME_vs_retained_auc (and _retrained), where asked: against retained images; where a class was forgotten, it also
  tells classes apart.
- NAME_distance_ratio (and _retrained), where a standard is known: d_N of Memories of Forgotten Concepts (2412.00782),
  EMD(forget, standard) / EMD(retained, standard). About 1 = as what was retained.

Of a curve, against the attacker's steps:
- NAME_steps (and _retrained): the fewest of the curve's steps at which the mean probability of the forgotten label
  reaches half of that of real images; its interval has the steps at which the mean's two bounds do. No value where it
  never does: flag `not-brought-back`.
- NAME_probability (and _retrained): the mean probability at the last step.
- NAME_excess: the release's probability minus the retrained model's, paired sample by sample, mean over all
  looks after the first step (at 0 nobody has attacked yet).

Choices of ours: half of the real images' level; normal intervals of means, +- 1.96 standard errors; d_N has none.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.metrics.evaluate.unlearning_samples import mean_probability
from leakbench.results.evidence import (
    PairedScores,
    RecoveryCurve,
    UnlearningEvidence,
    UnlearningGroups,
    UnlearningScores,
)
from leakbench.results.record import Metric
from leakbench.statistics import Estimate, Groups, auc, delong_pair, finite, flags, verdict

BROUGHT_BACK = 0.5  # share of the real images' probability


def evaluate_unlearning(evidence: UnlearningEvidence) -> MetricSet:
    """All metrics of all that the attack saw."""
    found = MetricSet([])
    for name, contrast in evidence.scores.items():
        found = found.joined(evaluate_paired_scores(name, contrast))
    for name, curve in evidence.curves.items():
        found = found.joined(evaluate_curve(name, curve))
    return found


def flatten_evidence(evidence: UnlearningEvidence) -> dict[str, np.ndarray]:
    """Flat arrays for the npz: NAME_model_forget, NAME_retrained_unseen, .., NAME_standard; NAME_steps, NAME_model,
    NAME_retrained, NAME_real of a curve."""
    found: dict[str, np.ndarray | None] = {}
    for name, contrast in evidence.scores.items():
        for side in ("model", "retrained"):
            scores = getattr(contrast, side)
            found |= {f"{name}_{side}_{group}": getattr(scores, group) for group in ("forget", "unseen", "retained")}
        found[f"{name}_standard"] = contrast.standard
        if contrast.groups is not None:
            found |= {f"{name}_{group}_groups": array for group, array in vars(contrast.groups).items()}
    for name, curve in evidence.curves.items():
        found |= {f"{name}_{part}": getattr(curve, part) for part in ("steps", "model", "retrained", "real")}
    return {name: array for name, array in found.items() if array is not None}


def unflatten_evidence(arrays: Mapping[str, np.ndarray]) -> UnlearningEvidence:
    """The evidence that `flatten_evidence` made these arrays of. Raises KeyError where some are missing."""
    scored = [name.removesuffix("_model_forget") for name in arrays if name.endswith("_model_forget")]
    drawn = [name.removesuffix("_steps") for name in arrays if name.endswith("_steps")]
    return UnlearningEvidence(
        {name: _paired_scores(name, arrays) for name in scored},
        {
            name: RecoveryCurve(*(arrays[f"{name}_{part}"] for part in ("steps", "model", "retrained", "real")))
            for name in drawn
        },
    )


def _paired_scores(name: str, arrays: Mapping[str, np.ndarray]) -> PairedScores:
    def side(model: str) -> UnlearningScores:
        first, second = (arrays[f"{name}_{model}_{images}"] for images in ("forget", "unseen"))
        return UnlearningScores(first, second, arrays.get(f"{name}_{model}_retained"))

    names = [f"{name}_{images}_groups" for images in ("forget", "unseen", "retained")]
    groups = UnlearningGroups(*(arrays[one] for one in names)) if names[0] in arrays else None
    return PairedScores(side("model"), side("retrained"), arrays.get(f"{name}_standard"), groups)


def evaluate_paired_scores(name: str, contrast: PairedScores) -> MetricSet:
    """The AUCs of a statistic by both models, and their difference."""
    ours, null = contrast.model, contrast.retrained
    groups = _groups(contrast, "forget", "unseen")
    sides, null_sides = ((finite(one.forget), finite(one.unseen)) for one in (ours, null))
    measured, pair = auc(*sides, groups=groups), delong_pair(*sides, *null_sides, groups=groups)
    found = MetricSet(
        [
            metric(f"{name}_auc", measured),
            metric(f"{name}_auc_retrained", auc(*null_sides, groups=groups)),
            metric(f"{name}_auc_excess", pair.difference),
        ],
        set(flags(ours.forget, ours.unseen, (), groups)) | ({"non-finite"} & set(flags(null.forget, null.unseen))),
        info={f"{name}_auc_excess_p": pair.p_value, f"{name}_means": _means(contrast)},
    )
    if verdict(measured).kind == "inverted" and pair.difference.high < 0:
        found.flags.add("inverted")
    for suffix, scores in (("", ours), ("_retrained", null)):
        found.metrics += _against_retained(name, suffix, scores, contrast)
    return found


def _groups(contrast: PairedScores, *sets: str) -> Groups | None:
    """The groups of two of the sets of images."""
    first, second = (None if contrast.groups is None else getattr(contrast.groups, name) for name in sets)
    return None if first is None or second is None else (first, second)


def _against_retained(name: str, suffix: str, scores: UnlearningScores, contrast: PairedScores) -> list[Metric]:
    if scores.retained is None or len(scores.retained) < 2:
        return []
    forget, retained = finite(scores.forget), finite(scores.retained)
    groups = _groups(contrast, "forget", "retained")
    found = [metric(f"{name}_vs_retained_auc{suffix}", auc(forget, retained, groups=groups))]
    if contrast.standard is not None:
        n, ratio = min(len(forget), len(retained)), _ratio(forget, retained, contrast.standard)
        found.append(Metric(name=f"{name}_distance_ratio{suffix}", value=ratio, n=n))
    return found


def _ratio(forget: np.ndarray, retained: np.ndarray, standard: np.ndarray) -> float | None:
    """d_N; None where the retained images are at no distance, or a score was no number."""
    from scipy.stats import wasserstein_distance

    near, far = (float(wasserstein_distance(scores, standard)) for scores in (retained, forget))
    return far / near if near > 0 and np.isfinite(far / near) else None


def _means(contrast: PairedScores) -> dict[str, float | None]:
    """Mean scores of every group, None where one was no number: JSON has none."""
    groups = {
        f"{side}_{group}": scores
        for side in ("model", "retrained")
        for group in ("forget", "unseen", "retained")
        if (scores := getattr(getattr(contrast, side), group)) is not None and len(scores)
    }
    return {name: float(scores.mean()) if np.isfinite(scores).all() else None for name, scores in groups.items()}


def evaluate_curve(name: str, curve: RecoveryCurve) -> MetricSet:
    """When a curve reaches half of the real images' probability, where it ends, and how far it lies above the null."""
    if not all(np.isfinite(part).all() for part in (curve.model, curve.retrained, curve.real)):
        return MetricSet([], {"non-finite"})
    level = BROUGHT_BACK * float(curve.real.mean())
    ours, null = (first_step_reaching(curve.steps, side, level) for side in (curve.model, curve.retrained))
    return MetricSet(
        [
            ours.model_copy(update={"name": f"{name}_steps"}),
            null.model_copy(update={"name": f"{name}_steps_retrained"}),
            metric(f"{name}_probability", _mean(curve.model[-1])),
            metric(f"{name}_probability_retrained", _mean(curve.retrained[-1])),
            metric(f"{name}_excess", _mean_difference(_after_the_first_step(curve).mean(axis=0))),
        ],
        {"not-brought-back"} if ours.value is None or null.value is None else set(),
        info={f"{name}_level": level, f"{name}_budget": int(curve.steps[-1])},
    )


def _after_the_first_step(curve: RecoveryCurve) -> np.ndarray:
    """Release minus retrained model (looks, samples); of a curve with the look at 0 alone, that."""
    difference: np.ndarray = curve.model - curve.retrained
    return difference[1:] if len(difference) > 1 else difference


def first_step_reaching(steps: np.ndarray, probabilities: np.ndarray, level: float) -> Metric:
    """The first of the `steps` (K,) at which the mean of `probabilities` (K, S) is `level` or more, None if at none;
    the interval has the first at which the upper bound of the mean is, and the lower one."""
    means = [_mean(row) for row in probabilities]

    def first(values: list[float]) -> float | None:
        return next((float(step) for step, value in zip(steps, values, strict=True) if value >= level), None)

    low, value, high = (first([getattr(m, part) for m in means]) for part in ("high", "value", "low"))
    return Metric(name="steps", value=value, ci_low=low, ci_high=high, n=probabilities.shape[1])


def _mean(values: np.ndarray) -> Estimate:
    return mean_probability(torch.from_numpy(values))


def _mean_difference(values: np.ndarray) -> Estimate:
    mean, error = float(values.mean()), float(values.std(ddof=1)) / len(values) ** 0.5
    return Estimate(mean, max(-1.0, mean - 1.96 * error), min(1.0, mean + 1.96 * error), len(values))

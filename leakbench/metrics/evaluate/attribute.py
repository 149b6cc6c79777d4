"""Scores of an attribute attack -> metrics.

- `attribute_auc`: whether the attack tells attribute 1 from 0. 1/2 = it does not. Below 1/2 shows it as well, the other
  way round, flagged `inverted`; no sign is ever flipped.
- `attribute_auc_null`: the same of the null. For samples, held-out real images by their own attribute: how well the
  reader reads. For members, images that the model has never seen: what it says of those, it says of anybody.
- `attribute_auc_excess`: the first minus the second. For samples, 0 = the attribute shows as plainly as in real images;
  for members, 0 = nothing is said of them that is not said of others.
- `attribute_balance`: the share of samples that score above 0, and so are read as 1; `attribute_balance_real`: of the
  held-out images; both as in leakbench.metrics.fairness. `attribute_balance_asked`: the share of samples that were
  asked for 1.
"""

from __future__ import annotations

import numpy as np

from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.results.evidence import AttributeEvidence
from leakbench.results.record import Metric
from leakbench.statistics import Groups, auc, clopper_pearson, contrast, finite, flags, verdict

_OF_REPORTED = {"non-finite", "constant-scores", "few-groups"}
_FEWEST = 2  # of either value, for an AUC


def evaluate_attribute(evidence: AttributeEvidence, balanced: bool) -> MetricSet:
    """All metrics; `balanced` says whether the reported images are samples, so that their balance is of interest.

    An AUC that lacks two images of either value is left out, and the flag `attribute-one-sided` says so.
    """
    one, zero, null_one, null_zero = map(finite, (evidence.one, evidence.zero, evidence.null_one, evidence.null_zero))
    found = MetricSet([], _warnings(evidence))
    if min(len(one), len(zero)) >= _FEWEST:
        measured = auc(one, zero, groups=evidence.groups)
        found.metrics.append(metric("attribute_auc", measured))
        found.flags |= {"inverted"} if verdict(measured).kind == "inverted" else set()
    if min(len(null_one), len(null_zero)) >= _FEWEST:
        found.metrics.append(metric("attribute_auc_null", auc(null_one, null_zero, groups=evidence.null_groups)))
        if min(len(one), len(zero)) >= _FEWEST:
            compared = contrast([(one, zero), (null_one, null_zero)], groups=_groups_of_both(evidence))
            found.metrics.append(metric("attribute_auc_excess", compared.estimate))
            found.info["attribute_auc_excess_p"] = compared.p_value
    if balanced:
        found.metrics += _balance(one, zero, np.concatenate([null_one, null_zero]))
    return found


def _groups_of_both(evidence: AttributeEvidence) -> list[Groups] | None:
    """Groups of the reported images and of the null; generated images are each on their own."""
    if evidence.null_groups is None:
        return None
    ours = evidence.groups
    if ours is None:
        ours = -1 - np.arange(len(evidence.one)), -1 - len(evidence.one) - np.arange(len(evidence.zero))
    return [ours, evidence.null_groups]


def _warnings(evidence: AttributeEvidence) -> set[str]:
    found: set[str] = set()
    sides = ((evidence.one, evidence.zero, evidence.groups), (evidence.null_one, evidence.null_zero, None))
    for number, (one, zero, groups) in enumerate(sides):
        if number and not len(one) + len(zero):
            continue
        if min(len(one), len(zero)) < _FEWEST:
            found.add("attribute-one-sided")
        else:
            found |= set(flags(one, zero, (), groups)) & ({"non-finite"} if number else _OF_REPORTED)
    return found


def _balance(one: np.ndarray, zero: np.ndarray, null: np.ndarray) -> list[Metric]:
    n = len(one) + len(zero)
    read = {"attribute_balance": np.concatenate([one, zero]), "attribute_balance_real": null}
    shares = [metric(name, clopper_pearson(int((x > 0).sum()), len(x))) for name, x in read.items() if len(x)]
    return [*shares, Metric(name="attribute_balance_asked", value=len(one) / n, n=n)] if n else shares

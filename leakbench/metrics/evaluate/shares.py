"""How much of a set was trained on: the estimate of an attack (DUCI) for sets of which we know it.

Sets of reported images, each as large as the smaller side, of which a known share are members: none, half, all. The
share is estimated with the calibration images as those whose membership the adversary knows, whose scores come from
fits that have not seen them. Where images come in groups, sets are of groups, each by its mean score.
"""

from __future__ import annotations

import numpy as np

from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.results.evidence import MembershipEvidence
from leakbench.statistics import estimate_share, finite, mean_scores

SHARES = (0.0, 0.5, 1.0)
_FEWEST = 2  # known images of a side


def estimate_shares(evidence: MembershipEvidence) -> MetricSet:
    """`share_estimate@share=S` for S in 0, 0.5, 1: value, 95 % interval and size of the set; empty where fewer than two
    known images (or groups) a side."""
    names = ("calibration_member", "calibration_nonmember", "member", "nonmember")
    scores = [finite(getattr(evidence, f"{name}_scores")) for name in names]
    if evidence.groups is not None:
        groups = (getattr(evidence, f"{name}_groups") for name in names)
        scores = [mean_scores(one, group) for one, group in zip(scores, groups, strict=True)]
    inside, outside, members, nonmembers = scores
    size = min(members.size, nonmembers.size)
    if min(inside.size, outside.size) < _FEWEST or not size:
        return MetricSet([])
    draw = np.random.default_rng(0)
    found = MetricSet([])
    for share in SHARES:
        count = round(share * size)
        mixed = [draw.choice(side, k, replace=False) for side, k in ((members, count), (nonmembers, size - count))]
        estimate = estimate_share(np.concatenate(mixed), inside, outside).estimate
        found.metrics.append(metric(f"share_estimate@share={share:g}", estimate))
    return found

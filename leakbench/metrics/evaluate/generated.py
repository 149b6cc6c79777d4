"""Generated-sample control: does an attack recognise members, or what the model finds easy?

A release's own samples, none of them a training image, are scored by the attack as if they were members (MGI,
2606.23872, found that membership attacks call them members). Three numbers, with the sign of the scores that the
calibration images asked for:

    generated_auc                    members against generated: above 1/2, the attack knows more than the model's style
    generated_rate@fpr=F             share of generated at or above the threshold of FPR F among nonmembers
    generated_vs_nonmembers_auc      generated against nonmembers

Choices of ours: the source gives no formula; the intervals are those of any AUC and TPR (the threshold's error
included), and the flag `detects-style` is raised where generated images are shown to score above nonmembers and
members are not shown to score above generated ones, by the two 95 % intervals. Where generated images score as
nonmembers do, which is what an attack on membership gives, it is raised in at most 1 of 40 cases (simulated, 150 images
a side: 0 of 3,000 below members, .029 where all three score alike); where they score as members do, in 39 of 40 that
have the power (.976; `pytest tests/leakbench/metrics/test_generated.py`).
"""

from __future__ import annotations

import numpy as np

from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.results.evidence import MembershipEvidence
from leakbench.statistics import auc, oriented, tpr_at_fpr


def judge_generated(evidence: MembershipEvidence, sign: float, targets: dict[str, float]) -> MetricSet:
    """Metrics of the generated images' scores and the flag; empty where none were scored. `sign` as calibration asked
    for it; `targets`: FPR by the name of its TPR. Members and nonmembers keep their groups; every generated image is
    one of its own."""
    if evidence.generated_scores is None:
        return MetricSet([])
    member, nonmember = oriented(evidence.member_scores, sign), oriented(evidence.nonmember_scores, sign)
    generated = oriented(evidence.generated_scores, sign)
    own = -1 - np.arange(generated.size)  # no image's group: those are numbered from 0
    of_members, of_nonmembers = evidence.groups or (None, None)
    over = auc(member, generated, groups=None if of_members is None else (of_members, own))
    groups = None if of_nonmembers is None else (own, of_nonmembers)
    under = auc(generated, nonmember, groups=groups)
    found = MetricSet([metric("generated_auc", over), metric("generated_vs_nonmembers_auc", under)])
    for name, target in targets.items():
        rate = tpr_at_fpr(generated, nonmember, target, groups=groups)
        found.metrics.append(metric(f"generated_rate{name.removeprefix('tpr')}", rate.estimate))
    if under.low > 0.5 >= over.low:
        found.flags.add("detects-style")
    return found

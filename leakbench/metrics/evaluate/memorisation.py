"""Scores of prompts -> metrics.

- `prompt_auc`: whether prompts under test score above null prompts, which were never trained on. Where it is known that
  all of those under test are memorised, it is the AUC of the detector.
- `prompts_flagged`: the share of prompts under test at or beyond the threshold; `info["flagged"]` has their numbers,
  the highest score first. The threshold is the least that 1 % of further null prompts, at most, reach.
- `prompts_flagged_null`: the share of null prompts that it flags, which are false flags.

Shares have Clopper and Pearson's intervals. Choice of ours: the threshold is that of copies, calibrated alike.
"""

from __future__ import annotations

import numpy as np

from leakbench.metrics.copying import threshold_at
from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.results.evidence import MemorisationEvidence
from leakbench.statistics import auc, clopper_pearson, finite, flags, verdict

NULL_RATE = 0.01  # share of null prompts that may be flagged when the threshold is chosen
_FEWEST = 2  # prompts of a side, for an AUC
_OF_SCORES = {"non-finite", "constant-scores"}


def evaluate_memorisation(evidence: MemorisationEvidence) -> MetricSet:
    """All metrics; none, and the flag `no-null-prompts`, where there are too few prompts to compare with."""
    tested, null, others = map(finite, (evidence.prompt_scores, evidence.null_scores, evidence.threshold_scores))
    if min(len(tested), len(null)) < _FEWEST or not len(others):
        return MetricSet([], {"no-null-prompts"})
    raised = set(flags(evidence.prompt_scores, evidence.null_scores, (), None)) & _OF_SCORES
    measured, threshold = auc(tested, null), threshold_at(others, NULL_RATE)
    if verdict(measured).kind == "inverted":
        raised.add("inverted")
    order = np.argsort(-tested, kind="stable")
    flagged = [int(evidence.prompt[place]) for place in order if tested[place] >= threshold]
    shares = {"prompts_flagged": tested, "prompts_flagged_null": null}
    found = [
        metric(name, clopper_pearson(int((scores >= threshold).sum()), len(scores))) for name, scores in shares.items()
    ]
    info = {
        "threshold": threshold,
        "threshold_prompts": len(others),
        "null_rate_aimed_at": NULL_RATE,
        "flagged": flagged,
    }
    return MetricSet([metric("prompt_auc", measured), *found], raised, info=info)

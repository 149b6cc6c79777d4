"""Evaluation of scores: metrics and verdicts as a record and a report hold them, sets, classes, exposed members."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from leakbench.interface.score_arrays import ScoreArrays, Sides
from leakbench.metrics.evaluate.membership import TARGETS, evaluate_membership
from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.results.evidence import MembershipEvidence
from leakbench.results.record import Metric
from leakbench.runtime.errors import UsageError, nearest_name
from leakbench.statistics import (
    ByClass,
    Estimate,
    Exposed,
    SetInference,
    Verdict,
    auc,
    by_class,
    exposed,
    finite,
    flags,
    oriented,
    set_inference,
    share_groups,
    smallest_detectable_auc,
    smallest_detectable_tpr,
    tpr_at_fpr,
    tpr_verdict,
    verdict,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ScoreResults:
    """Findings of a set of scores. All is computed on first use and kept.

    arrays: the scores, checked.
    """

    arrays: ScoreArrays

    @cached_property
    def findings(self) -> MetricSet:
        """Metrics, flags and facts as a record holds them; without calibration scores, those that need none."""
        (member, nonmember), groups = self.arrays.scores, self.arrays.groups
        if self.arrays.calibration is not None:
            known = (*(groups or (None, None)), *(self.arrays.calibration_groups or (None, None)))
            evidence = MembershipEvidence(member, nonmember, *self.arrays.calibration, *known)
            return evaluate_membership(evidence, blind=False)
        inside, outside = finite(member), finite(nonmember)
        found = MetricSet(
            [metric("auc", auc(inside, outside, groups=groups))],
            set(flags(member, nonmember, tuple(TARGETS.values()), groups)),
        )
        for name, target in TARGETS.items():
            at = tpr_at_fpr(inside, outside, target, groups=groups)
            found.metrics.append(metric(name, at.estimate))
            found.realised_fpr[name] = at.realised_fpr
        if verdict(auc(inside, outside, groups=groups)).kind == "inverted":
            found.flags.add("inverted")
        if groups is not None and share_groups(*groups):
            found.flags.add("shared-groups")
        return found

    @property
    def flags(self) -> list[str]:
        """Flags as records carry them, sorted."""
        return sorted(self.findings.flags)

    @property
    def orientation(self) -> float:
        """The sign with which the scores are read: -1 where calibration members score lower, else 1."""
        sign: float = self.findings.info.get("orientation", 1.0)
        return sign

    @property
    def inverted(self) -> bool:
        """True if members score lower than nonmembers, as the scores are read: what looks at high scores (TPRs, sets,
        the most exposed members) then looks at the wrong end."""
        return self._by_auc.kind == "inverted"

    @property
    def verdicts(self) -> list[str]:
        """Verdicts in words, of the scores as they are read: by the AUC, and by the TPR at each false-positive rate;
        where members score lower, by the AUC alone, and what to do."""
        if self.inverted:
            todo = (
                "negate all scores, or give scores of calibration images as well, which then decide the sign"
                if self.arrays.calibration is None
                else "the calibration scores ask for the other sign: check that they are of the same attack and model"
            )
            return [self._by_auc.words, f"lower means member in these scores: {todo}; TPRs are not judged until then"]
        rates = {target: self._as_read(name) for name, target in TARGETS.items()}
        return [
            self._by_auc.words,
            *(tpr_verdict(found, target, self.nonmembers).words for target, found in rates.items()),
        ]

    @property
    def nonmembers(self) -> int:
        """Number of nonmembers; of their groups, where there are any."""
        groups, count = self.arrays.groups, self.arrays.scores[1].size
        return count if groups is None else len(np.unique(groups[1]))

    @property
    def _by_auc(self) -> Verdict:
        return verdict(self._as_read("auc"))

    def _as_read(self, name: str) -> Estimate:
        """A metric with the sign that calibration scores asked for, if there are any."""
        known = {one.name for one in self.findings.metrics}
        return self.metric(f"oriented_{name}" if f"oriented_{name}" in known else name)

    def metric(self, metric: str) -> Estimate:
        """A metric ("auc", "tpr@fpr=0.1") with its 95 % interval and the number of images that it rests on. Raises
        UsageError for one that is not there."""
        found = {one.name: one for one in self.findings.metrics}
        if metric not in found:
            raise UsageError(f"no metric {metric!r} of these scores; {nearest_name(metric, found)}")
        return _estimate(found[metric])

    def table(self) -> pd.DataFrame:
        """One row a metric: `metric`, `value`, the bounds of its 95 % interval `low` and `high`, `n` images,
        `realised_fpr` of a TPR, and `would_have_seen`, as `least_seen` says it; NaN where there is none. Where images
        come in groups, `groups` is their number."""
        import pandas as pd

        rows = [(one.name, _estimate(one)) for one in self.findings.metrics]
        table = pd.DataFrame(
            [(name, found.value, found.low, found.high, found.n) for name, found in rows],
            columns=["metric", "value", "low", "high", "n"],
        )
        table["realised_fpr"] = [self.findings.realised_fpr.get(name) for name, _ in rows]
        table["would_have_seen"] = [self.least_seen(name) for name, _ in rows]
        if self.arrays.groups is not None:
            table["groups"] = [found.groups for _, found in rows]
        return table.astype({"realised_fpr": float, "would_have_seen": float})

    def least_seen(self, metric: str) -> float | None:
        """Smallest AUC or TPR that these numbers of images (of groups, where there are any) show with 80 % power. None
        for other metrics, and for a TPR that they are too few to show at all."""
        name, images = metric.removeprefix("oriented_"), self.metric(metric).independent
        if name.endswith("auc"):
            return smallest_detectable_auc(images)
        return smallest_detectable_tpr(TARGETS[name], images, self.nonmembers) if name in TARGETS else None

    @cached_property
    def oriented(self) -> Sides:
        """Scores of members and nonmembers, read with their orientation: higher = more likely a member."""
        member, nonmember = self.arrays.scores
        return oriented(member, self.orientation), oriented(nonmember, self.orientation)

    @cached_property
    def sets(self) -> SetInference:
        """Sets of members against as many nonmembers: from how many images, or groups, on they are told apart."""
        return set_inference(*self.oriented, groups=self.arrays.groups)

    @cached_property
    def classes(self) -> ByClass | None:
        """Leakage by class; None without labels."""
        if self.arrays.labels is None:
            return None
        (member, nonmember), (inside, outside) = self.oriented, self.arrays.labels
        return by_class(member, inside, nonmember, outside, groups=self.arrays.groups)

    def exposed(self, count: int = 10) -> list[Exposed]:
        """The `count` members of highest score, by their position in the array of members, from 0."""
        return exposed(*self.oriented, count)


def _estimate(one: Metric) -> Estimate:
    assert one.value is not None and one.ci_low is not None and one.ci_high is not None
    return Estimate(one.value, one.ci_low, one.ci_high, one.n, one.n_groups)

"""Tables that `leakbench score` prints of a file of scores: verdicts, metrics, sets of images, classes, exposure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.table import Table

from leakbench.api import MembershipEvidence
from leakbench.cli.score_file.read import ScoreFile, Sides
from leakbench.metrics.evaluate.membership import TARGETS, evaluate_membership
from leakbench.metrics.evaluate.metric_set import MetricSet, metric
from leakbench.results.record import Metric
from leakbench.statistics import (
    Estimate,
    auc,
    by_class,
    exposed,
    finite,
    flags,
    oriented,
    set_inference,
    smallest_detectable_auc,
    smallest_detectable_tpr,
    tpr_at_fpr,
    tpr_verdict,
    verdict,
)

_SHOWN = 10  # members that are listed as the most exposed


def findings(file: ScoreFile) -> MetricSet:
    """Metrics and flags as a record holds them; without calibration scores, those that need none."""
    member, nonmember = file.scores
    if file.calibration is not None:
        return evaluate_membership(MembershipEvidence(member, nonmember, *file.calibration), blind=False)
    inside, outside = finite(member), finite(nonmember)
    found = MetricSet([metric("auc", auc(inside, outside))], set(flags(member, nonmember, tuple(TARGETS.values()))))
    for name, target in TARGETS.items():
        at = tpr_at_fpr(inside, outside, target)
        found.metrics.append(metric(name, at.estimate))
        found.realised_fpr[name] = at.realised_fpr
    if verdict(auc(inside, outside)).kind == "inverted":
        found.flags.add("inverted")
    return found


def tables(file: ScoreFile) -> Iterator[Table]:
    """Tables in the order in which they are printed."""
    found = findings(file)
    sign = found.info.get("orientation", 1.0)
    sides = oriented(file.scores[0], sign), oriented(file.scores[1], sign)
    yield _head(file, found)
    yield _metrics(found, sides)
    yield _sets(sides)
    if file.labels is not None:
        yield _classes(sides, file.labels)
    yield _exposed(sides, file.index)


def _head(file: ScoreFile, found: MetricSet) -> Table:
    """Table of what the file holds, and of the verdicts."""
    table = Table(show_header=False, box=None, pad_edge=False)
    member, nonmember = (scores.size for scores in file.scores)
    table.add_row("scores", f"{member} members, {nonmember} nonmembers")
    if file.calibration is not None:
        inside, outside = (scores.size for scores in file.calibration)
        sign = "as they are" if found.info["orientation"] > 0 else "reversed, as calibration members score lower"
        table.add_row("calibration", f"{inside} members, {outside} nonmembers; scores are read {sign}")
    if file.not_read:
        table.add_row("not read", ", ".join(file.not_read))
    table.add_row("flags", ", ".join(sorted(found.flags)) or "none")
    for words in _verdicts(found, nonmember):
        table.add_row("verdict", words)
    return table


def _verdicts(found: MetricSet, nonmembers: int) -> Iterator[str]:
    by_name = {one.name: one for one in found.metrics}
    yield verdict(_estimate(by_name["auc"])).words
    for name, target in TARGETS.items():
        yield tpr_verdict(_estimate(by_name.get(f"oriented_{name}", by_name[name])), target, nonmembers).words


def _metrics(found: MetricSet, sides: Sides) -> Table:
    table = _table("metric", "value", "95 % interval", "n", "realised FPR", "would have seen")
    for one in found.metrics:
        interval = f"[{one.ci_low:.4g}, {one.ci_high:.4g}]"
        realised = found.realised_fpr.get(one.name)
        table.add_row(
            one.name,
            f"{one.value:.4g}",
            interval,
            str(one.n),
            "" if realised is None else f"{realised:.4g}",
            _least_seen(one, sides[1].size),
        )
    return table


def _least_seen(one: Metric, nonmembers: int) -> str:
    """Smallest effect that these numbers of images show with 80 % power, as text."""
    name = one.name.removeprefix("oriented_")
    if name.endswith("auc"):
        return f"{smallest_detectable_auc(one.n):.4g}"
    if name in TARGETS:
        least = smallest_detectable_tpr(TARGETS[name], one.n, nonmembers)
        return "nothing" if least is None else f"{least:.4g}"
    return ""


def _sets(sides: Sides) -> Table:
    inference = set_inference(*sides)
    table = _table("images in a set", "mean p value", "of 95 % of draws", "sets with p < 0.01")
    for one in inference.by_size:
        table.add_row(str(one.size), f"{one.p_value:.3g}", f"[{one.low:.3g}, {one.high:.3g}]", f"{one.rejected:.1%}")
    table.caption = (
        "no set of these sizes is distinguished from nonmembers"
        if inference.smallest is None
        else f"{inference.smallest} images are distinguished from nonmembers (mean p below 0.01)"
    )
    return table


def _classes(sides: Sides, labels: Sides) -> Table:
    found = by_class(sides[0], labels[0], sides[1], labels[1])
    table = _table("class", "AUC", "95 % interval", "members", "nonmembers", 'p of "as the others" (Holm)')
    for one in found.classes:
        table.add_row(
            str(one.label),
            f"{one.auc.value:.4g}",
            f"[{one.auc.low:.4g}, {one.auc.high:.4g}]",
            str(one.members),
            str(one.nonmembers),
            "" if one.adjusted is None else f"{one.adjusted:.3g}",
        )
    if found.left_out:
        table.caption = f"left out, with fewer than 5 images on a side: {found.left_out}"
    return table


def _exposed(sides: Sides, index: np.ndarray) -> Table:
    table = _table("most exposed member", "score", "nonmembers at or above")
    for one in exposed(*sides, _SHOWN):
        table.add_row(str(index[one.position]), f"{one.score:.6g}", f"{one.false_positive_rate:.4g}")
    table.caption = f"positions in the file, from 0; a share of 0 means below about 3 / {sides[1].size}"
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, caption_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _estimate(one: Metric) -> Estimate:
    assert one.value is not None and one.ci_low is not None and one.ci_high is not None
    return Estimate(one.value, one.ci_low, one.ci_high, one.n)

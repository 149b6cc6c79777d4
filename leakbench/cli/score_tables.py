"""Tables that `leakbench score` prints of a file of scores: verdicts, metrics, sets of images, classes, exposure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isnan
from typing import Any

import numpy as np
from rich.table import Table

from leakbench.interface.score_file import ScoreFile
from leakbench.interface.score_results import ScoreResults
from leakbench.results.flags import explain_flag
from leakbench.runtime.errors import to_printable
from leakbench.statistics import ByClass, SetInference

_NAMED = 5  # positions of scores that are no numbers


def tables(file: ScoreFile, results: ScoreResults) -> Iterator[Table]:
    """Tables in the order in which they are printed. Where members score lower as the scores are read, sets and the
    most exposed members, which are read from the high end, are left out."""
    unit = "images" if file.arrays.groups is None else "groups"
    yield _head(file, results)
    yield _metrics(results)
    if not results.inverted:
        yield _sets(results.sets, unit)
    if results.classes is not None:
        yield _classes(results.classes, unit)
    if not results.inverted:
        yield _exposed(file, results)


def _head(file: ScoreFile, results: ScoreResults) -> Table:
    """Table of what the file holds, and of the verdicts."""
    table = Table(show_header=False, box=None, pad_edge=False)
    member, nonmember = (scores.size for scores in file.arrays.scores)
    table.add_row("scores", f"{member} members, {nonmember} nonmembers")
    if file.arrays.groups is not None:
        ours, theirs = (len(np.unique(groups)) for groups in file.arrays.groups)
        table.add_row("groups", f"{ours} of members, {theirs} of nonmembers; intervals and verdicts count these")
    if file.arrays.calibration is not None:
        inside, outside = (scores.size for scores in file.arrays.calibration)
        sign = "as they are" if results.orientation > 0 else "reversed, as calibration members score lower"
        table.add_row("calibration", f"{inside} members, {outside} nonmembers; scores are read {sign}")
    if file.not_read:
        table.add_row("not read", to_printable(", ".join(file.not_read)))
    for words in _not_finite(file):
        table.add_row("no numbers", words)
    table.add_row("flags", ", ".join(results.flags) or "none")
    for flag in results.flags:
        table.add_row("", f"{flag}: {explain_flag(flag)}")
    for words in results.verdicts:
        table.add_row("verdict", words)
    return table


def _not_finite(file: ScoreFile) -> Iterator[str]:
    """What is no number on either side: how many, the first positions in the file, and how they are counted."""
    kinds: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
        "NaN": (np.isnan, "as the least member-like score"),
        "inf": (np.isposinf, "as larger than every other number"),
        "-inf": (np.isneginf, "as smaller than every other number"),
    }
    for side, scores, positions in zip(("members", "nonmembers"), file.arrays.scores, file.positions, strict=True):
        for name, (test, how) in kinds.items():
            found = positions[test(scores)]
            if found.size:
                first = ", ".join(str(one) for one in found[:_NAMED]) + (", ..." if found.size > _NAMED else "")
                yield f"{found.size} of {scores.size} {side} {name} (at {first}), counted {how}"


def _metrics(results: ScoreResults) -> Table:
    table = _table("metric", "value", "95 % interval", "n", "realised FPR", "detectable from")
    for row in results.table().to_dict("records"):
        table.add_row(
            row["metric"],
            f"{row['value']:.4g}",
            f"[{row['low']:.4g}, {row['high']:.4g}]",
            str(row["n"]),
            "" if isnan(row["realised_fpr"]) else f"{row['realised_fpr']:.4g}",
            _least_seen(row),
        )
    return table


def _least_seen(row: dict[Any, Any]) -> str:
    if isnan(row["would_have_seen"]):
        return "nothing" if "tpr@" in row["metric"] else ""
    return f"{row['would_have_seen']:.4g}"


def _sets(inference: SetInference, unit: str) -> Table:
    table = _table(f"{unit} in a set", "mean p value", "of 95 % of draws", "sets with p < 0.01")
    for one in inference.by_size:
        table.add_row(str(one.size), f"{one.p_value:.3g}", f"[{one.low:.3g}, {one.high:.3g}]", f"{one.rejected:.1%}")
    table.caption = (
        "no set of these sizes is distinguished from nonmembers"
        if inference.smallest is None
        else f"{inference.smallest} {unit} are distinguished from nonmembers (mean p below 0.01)"
    )
    return table


def _classes(found: ByClass, unit: str) -> Table:
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
        table.caption = f"left out, with fewer than 5 {unit} on a side: {found.left_out}"
    return table


def _exposed(file: ScoreFile, results: ScoreResults) -> Table:
    table = _table("most exposed member", "score", "nonmembers at or above")
    for one in results.exposed():
        table.add_row(str(file.positions[0][one.position]), f"{one.score:.6g}", f"{one.false_positive_rate:.4g}")
    table.caption = f"positions in the file, from 0; a share of 0 means below about 3 / {results.nonmembers}"
    return table


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, caption_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table

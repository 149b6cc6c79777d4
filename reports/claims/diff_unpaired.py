"""The reason for which two records of one seed could not be compared image by image, or sample by sample.

Pairs need what each image or sample counted for. Records of earlier versions do not keep all of it.
"""

from __future__ import annotations

from leakbench.results.record import QUALITY
from leakbench.results.share_arrays import find_shares

from ..reading.comparison import Source

_ROWS = ("member_rows", "nonmember_rows")
_SCORES = ("member_scores", "nonmember_scores")
_COPIES = ("similarity", "null_similarity")
_PAIRED = ("auc", "copy_rate")  # and TPRs: how names of metrics begin that can be compared in pairs


def explain_unpaired(old: Source, new: Source, metric: str) -> str:
    """Why `compare_records` did not compare a metric of two records of one seed in pairs, in a few words."""
    family = old.record.family
    arrays = [source.run.arrays(source.record) for source in (old, new)]
    if family == QUALITY:
        lacking = [not find_shares(one, metric) for one in arrays]
        return _name_side(lacking, "shares of single samples") or "other real images or features"
    if not metric.startswith((*_PAIRED, "tpr@fpr=")):
        return "no test in pairs of this metric"
    needed = {"membership": (_SCORES, _ROWS), "replication": (_COPIES, ())}.get(family, ((), ()))
    for names, what in zip(needed, ("scores", "rows of the images"), strict=True):
        lacking = [any(name not in one for name in names) for one in arrays]
        if any(lacking):
            return _name_side(lacking, what)
    return "other images were scored" if family == "membership" else "another threshold or null"


def _name_side(lacking: list[bool], what: str) -> str:
    """Which of the runs lacks something; empty where neither does."""
    if all(lacking):
        return f"no {what} on record"
    side = next((name for name, lacks in zip(("old", "new"), lacking, strict=True) if lacks), "")
    return f"no {what} in the {side} record" if side else ""

"""The flags that concern one metric of a record: its own, those of a void track, those of a row that means nothing."""

from __future__ import annotations

from leakbench.results.flags import Flag
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import few_negatives

from .marks import find_marks
from .void import void_flags


def read_flags(run: RunFolder, record: Record, metric: str) -> list[str]:
    """The flags that concern one metric of a record, sorted: `few-negatives` is about single TPRs."""
    name, _, target = metric.partition("tpr@fpr=")
    auc = record.metric("auc")
    scarce = (
        name in ("", "oriented_")
        and bool(target)
        and (auc is None or few_negatives(float(target), auc.n_groups or auc.n))
    )
    own = {flag for flag in record.flags if flag != Flag.FEW_NEGATIVES or scarce}
    return sorted(own | void_flags(run, record) | {mark.flag.value for mark in find_marks(run, record.point)})

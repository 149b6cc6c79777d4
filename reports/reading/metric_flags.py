"""The flags of a record that concern one of its metrics."""

from __future__ import annotations

from leakbench.results.flags import Flag
from leakbench.results.record import Record
from leakbench.statistics import few_negatives


def read_flags(record: Record, metric: str) -> list[str]:
    """The flags of a record that concern one of its metrics, sorted: `few-negatives` is about single TPRs."""
    name, _, target = metric.partition("tpr@fpr=")
    auc = record.metric("auc")
    scarce = (
        name in ("", "oriented_")
        and bool(target)
        and (auc is None or few_negatives(float(target), auc.n_groups or auc.n))
    )
    return sorted(flag for flag in record.flags if flag != Flag.FEW_NEGATIVES or scarce)

"""Tables that `leakbench power` prints: images needed for wanted numbers, and what usual numbers of images give."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from leakbench.statistics import list_attainable, list_required_images

_SIZES = (100, 300, 1000, 2500, 10000, 25000)


def tables(auc: float, half_width: float, fpr: float, tpr: float) -> Iterator[Table]:
    """Yield both tables. Every number of images is of nonmembers, and of as many members."""
    needs = _table("wanted", "nonmembers, and as many members")
    for need in list_required_images(auc, half_width, fpr, tpr):
        needs.add_row(need.wanted, str(need.images))
    needs.caption = "intervals at 95 %; told apart with 80 % probability\n"
    yield needs
    gives = _table("nonmembers", "AUC to +-", "least AUC seen", "TPR to +-", "least TPR seen")
    for row in list_attainable(auc, fpr, tpr, _SIZES):
        least = "none" if row.least_tpr is None else f"{100 * row.least_tpr:.3g} %"
        half_widths = f"{row.auc_half_width:.3f}", f"{100 * row.tpr_half_width:.2g} %"
        gives.add_row(str(row.images), half_widths[0], f"{row.least_auc:.3f}", half_widths[1], least)
    gives.caption = f"AUC {auc:g}; TPR {100 * tpr:.6g} % at FPR {100 * fpr:.6g} %"
    yield gives


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, caption_justify="left")
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="right")
    return table

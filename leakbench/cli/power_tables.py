"""Tables that `leakbench power` prints: images needed for wanted numbers, and what usual numbers of images give."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from leakbench.statistics import GroupSizes, list_attainable, list_required_images

_SIZES = (100, 300, 1000, 2500, 10000, 25000)
_GROUPS = (10, 20, 50, 100, 300, 1000)


def tables(
    auc: float, half_width: float, fpr: float, tpr: float, grouped: GroupSizes | None = None, groups: int | None = None
) -> Iterator[Table]:
    """Yield both tables. Every number of images is of nonmembers, and of as many members; `grouped`: they come in
    groups, of which the second table has several numbers, or this one."""
    counted = ["nonmembers"] if grouped is None else ["groups of nonmembers", "their images"]
    needs = _table("wanted", f"{counted[0]}, and as many {counted[0].replace('non', '')}", *counted[1:])
    for need in list_required_images(auc, half_width, fpr, tpr, grouped):
        needs.add_row(need.wanted, *_counts(need.groups, need.images))
    needs.caption = "intervals at 95 %; told apart with 80 % probability\n"
    yield needs
    gives = _table(*counted, "AUC to +-", "least AUC seen", "TPR to +-", "least TPR seen")
    sizes = _SIZES if grouped is None else _GROUPS if groups is None else (groups,)
    for row in list_attainable(auc, fpr, tpr, sizes, grouped):
        least = "none" if row.least_tpr is None else f"{100 * row.least_tpr:.3g} %"
        half_widths = f"{row.auc_half_width:.3f}", f"{100 * row.tpr_half_width:.2g} %"
        gives.add_row(*_counts(row.groups, row.images), half_widths[0], f"{row.least_auc:.3f}", half_widths[1], least)
    gives.caption = f"AUC {auc:g}; TPR {100 * tpr:.6g} % at FPR {100 * fpr:.6g} %"
    if grouped is not None:
        gives.caption += f"; {grouped.images:g} images a group, correlated by {grouped.correlation:g}"
    yield gives


def _counts(groups: int | None, images: int) -> tuple[str, ...]:
    return (str(images),) if groups is None else (str(groups), str(images))


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, caption_justify="left")
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="right")
    return table

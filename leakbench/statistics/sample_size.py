"""Sample sizes: images that a wanted precision needs, and the precision that a number of images gives.

Always as many members as nonmembers. See `power.py` and `power_tpr.py` for the formulas. Where images come in groups,
numbers are of groups: so many that their `effective_images` are the images needed. To rank by a TPR takes as many
groups as it takes images (`few_negatives` counts groups).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from .power import auc_half_width, auc_images, auc_images_to_see, effective_images, least, smallest_detectable_auc
from .power_tpr import ranked_images, smallest_detectable_tpr, tpr_half_width, tpr_images, tpr_images_to_see


@dataclass(frozen=True)
class GroupSizes:
    """Groups of `images` each, 1 or more, whose scores are correlated by `correlation` within a group, 0 to 1."""

    images: float
    correlation: float = 1.0

    def effective(self, groups: int) -> int:
        """Number of independent images that tell as much as so many groups. Raises ValueError as `effective_images`."""
        return effective_images(groups, self.images, self.correlation)


@dataclass(frozen=True)
class RequiredImages:
    """A wish in words, and the least number of nonmembers (and of members) that gives it; of groups, where there are
    any, beside."""

    wanted: str
    images: int
    groups: int | None = None


@dataclass(frozen=True)
class Attainable:
    """Reach of `images` a side (in `groups`, where there are any): half-widths of the intervals, and the least AUC and
    TPR that are seen (None: none)."""

    images: int
    auc_half_width: float
    least_auc: float
    tpr_half_width: float
    least_tpr: float | None
    groups: int | None = None


def list_required_images(
    auc: float, half_width: float, target: float, tpr: float, grouped: GroupSizes | None = None
) -> list[RequiredImages]:
    """List the images that an AUC in (1/2, 1) and a TPR in (target, 1) at FPR `target` need; `grouped`: and the groups.

    Raises ValueError as the functions do.
    """
    rate = f"TPR {_percent(tpr)} at FPR {_percent(target)}"
    needs = [
        RequiredImages(f"AUC {auc:g}, to +-{half_width:g}", auc_images(auc, half_width)),
        RequiredImages(f"AUC {auc:g}, told from 0.5", auc_images_to_see(auc)),
        RequiredImages(f"{rate}, to +-{_percent(half_width)}", tpr_images(tpr, target, half_width)),
        RequiredImages(f"{rate}, told from {_percent(target)}", tpr_images_to_see(tpr, target)),
    ]
    ranked = RequiredImages(f"any TPR at FPR {_percent(target)}, enough to rank by it", ranked_images(target))
    if grouped is None:
        return [*needs, ranked]
    return [*(_in_groups(need, grouped) for need in needs), _of_groups(ranked, ranked.images, grouped)]


def _in_groups(need: RequiredImages, grouped: GroupSizes) -> RequiredImages:
    return _of_groups(need, least(lambda groups: grouped.effective(groups) >= need.images), grouped)


def _of_groups(need: RequiredImages, groups: int, grouped: GroupSizes) -> RequiredImages:
    return RequiredImages(need.wanted, ceil(groups * grouped.images), groups)


def list_attainable(
    auc: float, target: float, tpr: float, sizes: Sequence[int], grouped: GroupSizes | None = None
) -> list[Attainable]:
    """List what each of `sizes` gives for the same AUC and TPR; `grouped`: they are numbers of groups. Raises
    ValueError as the functions do."""
    return [_attainable(auc, target, tpr, size, grouped) for size in sizes]


def _attainable(auc: float, target: float, tpr: float, size: int, grouped: GroupSizes | None) -> Attainable:
    n = size if grouped is None else grouped.effective(size)
    return Attainable(
        size if grouped is None else ceil(size * grouped.images),
        auc_half_width(auc, n),
        smallest_detectable_auc(n),
        tpr_half_width(tpr, target, n),
        smallest_detectable_tpr(target, n, n),
        None if grouped is None else size,
    )


def _percent(share: float) -> str:
    return f"{100 * share:.6g} %"

"""Sample sizes: images that a wanted precision needs, and the precision that a number of images gives.

Always as many members as nonmembers. See `power.py` and `power_tpr.py` for the formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .power import auc_half_width, auc_images, auc_images_to_see, smallest_detectable_auc
from .power_tpr import ranked_images, smallest_detectable_tpr, tpr_half_width, tpr_images, tpr_images_to_see


@dataclass(frozen=True)
class RequiredImages:
    """A wish in words, and the least number of nonmembers (and of members) that gives it."""

    wanted: str
    images: int


@dataclass(frozen=True)
class Attainable:
    """Reach of `images` a side: half-widths of the intervals, and the least AUC and TPR that are seen (None: none)."""

    images: int
    auc_half_width: float
    least_auc: float
    tpr_half_width: float
    least_tpr: float | None


def list_required_images(auc: float, half_width: float, target: float, tpr: float) -> list[RequiredImages]:
    """List the images that an AUC in (1/2, 1) and a TPR in (target, 1) at FPR `target` need.

    Raises ValueError as the functions do.
    """
    rate = f"TPR {_percent(tpr)} at FPR {_percent(target)}"
    return [
        RequiredImages(f"AUC {auc:g}, to +-{half_width:g}", auc_images(auc, half_width)),
        RequiredImages(f"AUC {auc:g}, told from 0.5", auc_images_to_see(auc)),
        RequiredImages(f"{rate}, to +-{_percent(half_width)}", tpr_images(tpr, target, half_width)),
        RequiredImages(f"{rate}, told from {_percent(target)}", tpr_images_to_see(tpr, target)),
        RequiredImages(f"any TPR at FPR {_percent(target)}, enough to rank by it", ranked_images(target)),
    ]


def list_attainable(auc: float, target: float, tpr: float, sizes: Sequence[int]) -> list[Attainable]:
    """List what each of `sizes` gives for the same AUC and TPR. Raises ValueError as the functions do."""
    return [
        Attainable(
            n,
            auc_half_width(auc, n),
            smallest_detectable_auc(n),
            tpr_half_width(tpr, target, n),
            smallest_detectable_tpr(target, n, n),
        )
        for n in sizes
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.6g} %"

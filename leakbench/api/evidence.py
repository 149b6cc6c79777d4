"""Raw scores, as attacks leave them: one frozen dataclass of named arrays a family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class MembershipEvidence:
    """Raw scores, float64, higher = more likely a member."""

    member_scores: np.ndarray
    nonmember_scores: np.ndarray
    calibration_member_scores: np.ndarray
    calibration_nonmember_scores: np.ndarray


@dataclass(frozen=True)
class ReplicationEvidence:
    """Similarities to the nearest training image, and its index: of samples, of held-out real images on which the
    threshold is chosen, and of other held-out real images on which its false-copy rate is measured."""

    similarity: np.ndarray
    nearest: np.ndarray
    threshold_similarity: np.ndarray
    null_similarity: np.ndarray

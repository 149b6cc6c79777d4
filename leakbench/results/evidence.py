"""Raw scores, as attacks leave them: one frozen dataclass of named arrays a family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class MembershipEvidence:
    """Raw scores, float64, higher = more likely a member.

    generated_scores: of the release's own samples, scored as if they were members; None where they were not.
    other_scores: by part of the split, scores of held-back images of its people; no array of the image's record.
    ..._groups (int64): the group (person, patient, scene) that each image is of, all four or none of them: None where
    images do not come in groups.
    permuted_aucs: where few images were scored by an attack that learnt from the others of them, its AUCs with the two
    sides permuted, against which its own is judged; None elsewhere.
    """

    member_scores: np.ndarray
    nonmember_scores: np.ndarray
    calibration_member_scores: np.ndarray
    calibration_nonmember_scores: np.ndarray
    member_groups: np.ndarray | None = None
    nonmember_groups: np.ndarray | None = None
    calibration_member_groups: np.ndarray | None = None
    calibration_nonmember_groups: np.ndarray | None = None
    generated_scores: np.ndarray | None = None
    other_scores: Mapping[str, np.ndarray] | None = None
    permuted_aucs: np.ndarray | None = None

    @property
    def is_few(self) -> bool:
        """Tell whether there were too few images to spare any for calibration."""
        return not len(self.calibration_member_scores)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that are there, by name."""
        return {name: array for name, array in vars(self).items() if array is not None and name != "other_scores"}

    @property
    def groups(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Groups of the reported members and nonmembers."""
        return _both(self.member_groups, self.nonmember_groups)

    @property
    def calibration_groups(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Groups of the calibration members and nonmembers."""
        return _both(self.calibration_member_groups, self.calibration_nonmember_groups)


def _both(first: np.ndarray | None, second: np.ndarray | None) -> tuple[np.ndarray, np.ndarray] | None:
    return None if first is None or second is None else (first, second)


@dataclass(frozen=True)
class MemorisationEvidence:
    """Raw scores of distinct prompts, float64, higher = more likely memorised: of those under test, of null prompts,
    which were never trained on, and of other null prompts, by which the threshold is chosen.

    prompt, null_prompt (int64): the number of each prompt, which is the label that the network is told.
    """

    prompt_scores: np.ndarray
    prompt: np.ndarray
    null_scores: np.ndarray
    null_prompt: np.ndarray
    threshold_scores: np.ndarray

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class ReplicationEvidence:
    """Similarities to the nearest training image, and its index: of generated images, of held-out real images on which
    the threshold is chosen, and of other held-out real images on which its false-copy rate is measured.

    Where an attack generates its own images, `ordinary_...` are of as many ordinary samples. Where it looks for images
    that repeat one another, `group` and `null_group` say in which group each of equally many generated and held-out
    real images is, -1: in none. Where it aims at given images, `similarity` is theirs and `nearest` themselves.
    Where it searches over transforms, `transforms` says in what each image differs from its training image, as bits.
    copied_groups, heldout_groups (int64): the person (patient, scene) of each nearest training image, and of each image
    of the null; None where images do not come in groups.
    """

    similarity: np.ndarray
    nearest: np.ndarray
    threshold_similarity: np.ndarray
    null_similarity: np.ndarray
    ordinary_similarity: np.ndarray | None = None
    ordinary_nearest: np.ndarray | None = None
    group: np.ndarray | None = None
    null_group: np.ndarray | None = None
    transforms: np.ndarray | None = None
    copied_groups: np.ndarray | None = None
    heldout_groups: np.ndarray | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that are there, by name."""
        return {name: array for name, array in vars(self).items() if array is not None}


@dataclass(frozen=True)
class UnlearningScores:
    """A statistic of each image (float64, 1-D, higher = more likely once trained on): of images that were to be
    forgotten, of never-seen images that they are compared with, and of retained ones where an attack has asked."""

    forget: np.ndarray
    unseen: np.ndarray
    retained: np.ndarray | None = None


@dataclass(frozen=True)
class UnlearningGroups:
    """The group (person, patient, scene) of each image of the three sets of an attack on unlearning, int64."""

    forget: np.ndarray
    unseen: np.ndarray
    retained: np.ndarray


@dataclass(frozen=True)
class PairedScores:
    """The same statistic of the same images by the release under attack and by the retrained one.

    standard: what it would be in a perfect case, where that is known; the distances of the three sets to it are then
    compared. groups: whose the images are, where they come in groups; the harness tells it, and an attack does not.
    """

    model: UnlearningScores
    retrained: UnlearningScores
    standard: np.ndarray | None = None
    groups: UnlearningGroups | None = None


@dataclass(frozen=True)
class RecoveryCurve:
    """Recovery of a forgotten label by an attacker's effort: its probability for each sample asked for it.

    steps (K,): the effort, ascending from 0. model, retrained (K, S): column i of both is the same sample number.
    real (M,): that of real images of the label.
    """

    steps: np.ndarray
    model: np.ndarray
    retrained: np.ndarray
    real: np.ndarray


@dataclass(frozen=True)
class UnlearningEvidence:
    """Scores and curves of an attack on unlearning, by names that its metrics begin with: "forget" -> forget_auc."""

    scores: Mapping[str, PairedScores] = field(default_factory=dict)
    curves: Mapping[str, RecoveryCurve] = field(default_factory=dict)


@dataclass(frozen=True)
class AttributeEvidence:
    """Raw scores, float64, higher = more likely attribute 1: of what has it, of what has not, and the same of a null:
    real images beside samples, never-seen ones beside members (empty where there is none).

    ..._groups (int64): the group (person, patient, scene) of each image; None where images do not come in groups, and
    of generated images.
    """

    one: np.ndarray
    zero: np.ndarray
    null_one: np.ndarray
    null_zero: np.ndarray
    one_groups: np.ndarray | None = None
    zero_groups: np.ndarray | None = None
    null_one_groups: np.ndarray | None = None
    null_zero_groups: np.ndarray | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that are present, by name."""
        return {name: array for name, array in vars(self).items() if array is not None}

    @property
    def groups(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Groups of what has the attribute and of what has not."""
        return _both(self.one_groups, self.zero_groups)

    @property
    def null_groups(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The same of the null."""
        return _both(self.null_one_groups, self.null_zero_groups)


@dataclass(frozen=True)
class CanaryEvidence:
    """Raw scores (m,), float64, higher = more likely included, and the coins (m,), bool: true = included.

    canary_groups: int64 (m,), the group (person, patient, scene) of each image; all images of one had one coin. None
    where images do not come in groups, and each had its own.
    """

    scores: np.ndarray
    included: np.ndarray
    canary_groups: np.ndarray | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that are there, by name."""
        return {name: array for name, array in vars(self).items() if array is not None}

"""Contract of membership inference attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from leakbench.api.attack import Attack

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from leakbench.data.image_view import ImagesLike
    from leakbench.runtime.device import Rng

CALIBRATION_FOLDS = 4  # of calibration images: an attack that learnt from one does not score it

Query = Callable[[Any, "Tensor", "Tensor | None"], "Tensor"]  # (view, images, labels of a batch) -> (N, ...)


@dataclass(frozen=True)
class ImageSet:
    """Images that an attacker may ask about before it scores. None of them is ever reported.

    images (N, C, H, W): `images[index]` makes those of some numbers, `images[:]` all (they may be many), and a tensor
    may stand in their place. labels (N,) or None: what the network is conditioned on. `ask(question)` puts a question
    to the release at the attack's own access level, batch by batch, and gives its answers for these images, (N, ...),
    on the device; the view has `others` (shadow models), each with the mask of the images that it was trained on.
    """

    images: ImagesLike
    labels: Tensor | None
    ask: Callable[[Query], Tensor]


@dataclass(frozen=True)
class Calibration(ImageSet):
    """Images by which an attack learns, tunes or orients itself.

    Its own images are half members, half not: `is_member` (N,) bool. `public` are images of the same distribution on
    which neither the target nor any shadow model was trained. `streams` are for the attack's own randomness.
    """

    is_member: np.ndarray
    public: ImageSet
    streams: Rng


class MembershipAttack(Attack):
    """An attack that scores whether an image was in the training set; higher = more likely a member."""

    family = "membership"
    # What `fit` reads. "calibration": membership labels of calibration images; their own scores are then made out of
    # fold, by the harness. "public": images of the `reference` part. "shadows": the masks of shadow models.
    learns_from: ClassVar[Literal["calibration", "public", "shadows"]] = "calibration"
    shares: ClassVar[bool] = True  # its calls of eps count among those shared; not for walks and gradients of its own
    averages_answers: ClassVar[bool] = False  # whether it asks the same again and averages: for randomised answers
    leaves_pairs_out: ClassVar[bool] = False  # whether it learns from `describe` where there are few images
    sets: ClassVar[bool] = False  # whether its scores are also judged in sets of images (data-set inference)

    def fit(self, calibration: Calibration) -> MembershipAttack:
        """Fit a copy of the attack; the attack itself where there is nothing to learn."""
        return self

    def score(self, view: Any, images: Tensor, labels: Tensor | None) -> Tensor:
        """Score one compute batch of images (N, C, H, W): (N,)."""
        raise NotImplementedError

    def describe(self, images: ImageSet) -> np.ndarray:
        """The columns (N, D) that it reads of images: where there are too few to spare any for calibration, the harness
        learns from them, leaving a member and a nonmember out at a time. Only with `leaves_pairs_out`."""
        raise NotImplementedError

    @property
    def learns(self) -> bool:
        """Tell whether the attack learns anything before it scores."""
        return type(self).fit is not MembershipAttack.fit

    @property
    def out_of_fold(self) -> bool:
        """Tell whether its scores of calibration images must come from fits that have not seen them."""
        return self.learns and self.learns_from == "calibration"

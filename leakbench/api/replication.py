"""Contract of replication attacks, which look for training images among what a model generates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from leakbench.api.attack import Attack
from leakbench.runtime.plugin import Access

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from leakbench.data.image_view import ImagesLike
    from leakbench.data.neighbours import Matches
    from leakbench.models.diffusion import Schedule
    from leakbench.runtime.device import Rng


@dataclass(frozen=True)
class SampleSet:
    """Samples of a release, for an attack to learn from: samples (N, C, H, W), labels (N,) or None.

    `schedule` is None below DENOISER; `embed` gives the suite's features (N, D) of images; `streams` are for the
    attack's own randomness.
    """

    samples: Tensor
    labels: Tensor | None
    schedule: Schedule | None
    embed: Callable[[Tensor], Tensor]
    streams: Rng


class ReplicationAttack(Attack):
    """An attack that matches generated images with training images.

    The harness matches held-out real images in the same way, as the null."""

    family = "replication"
    access = Access.SAMPLES

    @property
    def published(self) -> float | None:
        """The similarity from which on the paper calls an image a copy, where it fixes one: reported beside the
        calibrated threshold."""
        return None

    def space(self, features: str) -> str:
        """The space of the similarity, for the record's `features`: the suite's features unless overridden."""
        return features

    def fit(self, drawn: SampleSet) -> ReplicationAttack:
        """Fit a copy of the attack; itself where there is nothing to learn before it asks for candidates."""
        return self

    def candidates(self, view: Any, samples: Tensor, labels: Tensor | None) -> Tensor:
        """The images to match (N, C, H, W), one for each of a compute batch of samples, whose numbers are `view.ids`:
        the samples themselves, or others that the attack's access level can get. Then as many ordinary samples are
        matched as well and reported beside them."""
        return samples

    def match(self, queries: ImagesLike, train: ImagesLike, embed: Callable[[ImagesLike], Tensor]) -> Matches:
        """Match queries (N, C, H, W) with training images (M, C, H, W), each query by itself. `embed` gives the suite's
        features (N, D). Both may be many: `queries[index]` makes those of some numbers
        (leakbench.data.image_view.FeatureRows is a table of them for leakbench.data.neighbours), and tensors may stand
        in their place."""
        raise NotImplementedError

    def groups(self, images: ImagesLike) -> np.ndarray | None:
        """Groups of images (N, C, H, W) that repeat one another, found without training images: int64 (N,), -1 for an
        image that is in none. None: the attack looks for none. The harness asks the same of as many held-out real
        images. They may be many, as in `match`."""
        return None

    def compared_numbers(self, shape: tuple[int, ...]) -> float:
        """Numbers by which a query and a training image of `shape` (C, H, W) are compared in `match`, for estimates of
        time: those of their pixels unless overridden."""
        return prod(shape)

    def facts(self) -> dict[str, Any]:
        """JSON-able facts of the fitted attack, for the record."""
        return {}

    @property
    def generates(self) -> bool:
        """Tell whether the attack asks for images of its own."""
        return type(self).candidates is not ReplicationAttack.candidates


class RecoveryAttack(ReplicationAttack):
    """An attack that tries to get a given image back.

    Asked of members, of reference images for the threshold, and of nonmembers as the null. `match` and `candidates` are
    not used."""

    def recover(self, view: Any, images: Tensor, labels: Tensor | None) -> Tensor:
        """Similarity (N,) of what came back to each of a compute batch of images (N, C, H, W); higher = more alike."""
        raise NotImplementedError

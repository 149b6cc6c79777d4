"""Questions put to a release. An attack never computes an AUC: the harness does, the same way for all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from leakbench.api.plugin import Access, Plugin

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from leakbench.copying import Matches
    from leakbench.device import Streams


@dataclass(frozen=True)
class Need:
    """Another release that an attack needs, trained by the target's own recipe at the bottom of its chain.

    It is trained on a random share of all images but `reference`: shadow model number `draw` of LiRA has share 0.5.
    The attack finds it as view.others[name] = (eps of that release, mask of this batch's images that it was trained
    on).
    """

    name: str
    draw: int
    share: float = 0.5


class Attack(Plugin):
    """A question put to a release."""

    family: ClassVar[Literal["membership", "replication", "attribute", "unlearning"]]
    access: ClassVar[Access]
    requires_parts: ClassVar[frozenset[str]] = frozenset()  # unmet: not applicable, which is no failure

    def needs(self) -> tuple[Need, ...]:
        """Other releases to train for this attack; the plan trains each once for all that ask."""
        return ()


@dataclass(frozen=True)
class Calibration:
    """Calibration images for attacks that learn, tune or orient themselves. None of them is ever reported.

    images (N, C, H, W), labels (N,) or None, member (N,) bool. `scores(attack)` asks the release, at the attack's own
    access level, for the attack's scores of these images, (N,) float64. `streams` are for an attack's own randomness.
    """

    images: Tensor
    labels: Tensor | None
    member: np.ndarray
    scores: Callable[[MembershipAttack], np.ndarray]
    streams: Streams


class MembershipAttack(Attack):
    """Was this image in the training set? Higher score = more likely a member."""

    family = "membership"

    def fit(self, calibration: Calibration) -> MembershipAttack:
        """A fitted copy of the attack; itself if there is nothing to learn."""
        return self

    def score(self, view: Any, images: Tensor, labels: Tensor | None) -> Tensor:
        """Scores (N,) of one compute batch of images (N, C, H, W)."""
        raise NotImplementedError

    @property
    def learns(self) -> bool:
        """Whether it reads calibration labels. Its calibration scores are then made out of fold, by the harness."""
        return type(self).fit is not MembershipAttack.fit


class ReplicationAttack(Attack):
    """Does a sample repeat a training image? The harness asks the same of held-out real images: the null."""

    family = "replication"
    access = Access.SAMPLES

    def match(self, queries: Tensor, train: Tensor, embed: Callable[[Tensor], Tensor]) -> Matches:
        """Match queries (N, C, H, W) with training images (M, C, H, W). `embed` gives the suite's features (N, D)."""
        raise NotImplementedError

    def space(self, features: str) -> str:
        """The space of the similarity, for the record's `features`: the suite's features unless overridden."""
        return features

"""Contract of attacks that infer a sensitive attribute, 0 or 1, on which a model is conditioned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from leakbench.api.attack import Attack
from leakbench.api.defense import AuditSetting
from leakbench.api.membership import ImageSet
from leakbench.api.skip import Skip

if TYPE_CHECKING:
    from torch import Tensor

    from leakbench.runtime.device import Rng


@dataclass(frozen=True)
class AttributeTrainingSet(ImageSet):
    """Images that an attacker may learn from, none of which is ever reported.

    `attribute` (N,), 0 or 1, is the truth about `images`: real ones that the model was not trained on, or, for an
    attack of pairs, pairs of the attacker's own. `labels` is None. `streams` are for the attack's own randomness.
    """

    attribute: Tensor
    streams: Rng


class AttributeAttack(Attack):
    """An attack that infers the sensitive attribute of an image, 0 or 1.

    `of` says of which images it is asked, and what is true of them:
    - "samples": images that the model generated; the attribute that each was asked for.
    - "images": real images that the model was trained on; their own attribute.
    - "pairs": two outputs (N, 2C, H, W) of one noise, one asked for either value, in an order that a fair coin has
      chosen; 1 where the first of the two was asked for 1.
    """

    family = "attribute"
    of: ClassVar[Literal["samples", "images", "pairs"]]

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Skip releases whose network is not conditioned on the attribute."""
        if setting.condition != "attribute":
            return Skip("the network is not conditioned on the attribute", "not-applicable")
        return super().skip(setting)

    def fit(self, known: AttributeTrainingSet) -> AttributeAttack:
        """A fitted copy of the attack; itself if there is nothing to learn."""
        return self

    def score(self, view: Any, images: Tensor, labels: None) -> Tensor:
        """Log odds (N,) of attribute 1, up to a factor, of one compute batch: 0 is undecided, higher more likely 1.

        `labels` is None, and `view.labels` as well: what the network would be given is the very thing that is asked.
        """
        raise NotImplementedError

"""Contract of attacks that audit a training: they guess which of its coins fell heads, which bounds epsilon below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from leakbench.api.attack import Attack, AuxiliaryModel, CanaryKind
from leakbench.api.skip import Skip
from leakbench.runtime.plugin import release_param

if TYPE_CHECKING:
    from torch import Tensor

    from leakbench.api.defense import AuditSetting

CANARY = AuxiliaryModel("canary", kind="canary")


class AuditingAttack(Attack):
    """An attack that guesses whether an image was included by the fair coin of a canary release.

    The harness turns scores into guesses: `guesses` is the share of coins that is guessed, the surest ones, half of
    them "heads". It is a parameter, so it is fixed before anything is seen. `canaries`: what is made of the images that
    have coins.
    """

    family = "auditing"

    canaries: ClassVar[CanaryKind] = "ordinary"

    guesses: float = release_param(0.5, gt=0, le=1)

    @property
    def canary_model(self) -> AuxiliaryModel:
        """The canary release, which is the one that is queried."""
        if self.canaries == "ordinary":
            return CANARY
        return AuxiliaryModel(f"canary-{self.canaries}", kind="canary", canaries=self.canaries)

    def auxiliary_models(self) -> tuple[AuxiliaryModel, ...]:
        """Ask for the canary release."""
        return (self.canary_model,)

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse too few canaries for a guess. Canaries are all images but the reference part."""
        if self.canaries == "mislabelled" and setting.condition != "label":
            reason = f"{self.name}: its canaries have wrong labels, and the network is told none"
            return Skip(reason, "not-applicable")
        if (found := super().skip(setting)) or round(self.guesses * setting.images / 2) >= 1:
            return found
        return Skip(
            f"guesses = {self.guesses} of {setting.images} images is no guess on either side: ask for a larger share"
        )

    def score(self, view: Any, images: Tensor, labels: Tensor | None) -> Tensor:
        """Scores (N,) of one compute batch of images (N, C, H, W), higher = more likely included. `view` is of the
        canary release; nothing in it tells the coins."""
        raise NotImplementedError

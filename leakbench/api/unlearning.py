"""Contract of attacks on unlearning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from leakbench.api.attack import Attack, AuxiliaryModel
from leakbench.api.membership import Query
from leakbench.api.skip import Skip

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from leakbench.api.defense import AuditSetting
    from leakbench.data.image_batch import Images
    from leakbench.data.image_view import ImagesLike
    from leakbench.models.release import Release
    from leakbench.results.evidence import UnlearningEvidence
    from leakbench.runtime.device import Rng

RETRAINED = AuxiliaryModel("retrained", kind="retrained")


@dataclass(frozen=True)
class QueriedModel:
    """A release as an attack meets it.

    `ask(question, images)` puts a question to it at the attack's own access level, batch by batch, and gives its
    answers (N, ...) on the device; the same image is met with the same noise in every model. `handed_out` is the whole
    release where the attack has WEIGHTS, and None below.
    """

    ask: Callable[[Query, Images], Tensor]
    handed_out: Release | None = None

    @property
    def release(self) -> Release:
        """The whole release. Raises ValueError below WEIGHTS."""
        if self.handed_out is None:
            raise ValueError("the release itself is handed out at WEIGHTS access only; put questions to it with ask()")
        return self.handed_out


@dataclass(frozen=True)
class UnlearningContext:
    """Context of an attack on unlearning.

    model: the release under attack. before: the release on which its last step that forgets was built, or None where
    there is none. retrained: its chain without the steps that forget, all trained without what is to be forgotten.
    It is the null, and not the attacker's: whatever an attack finds in the release is read beside what it finds
    there.
    forget: training images that were to be forgotten. unseen: images that no model here was trained on, of the same
    class where a class was to be forgotten. retained: training images that were to stay. All of them are reported
    images, two or more each.
    label: the label that was to be forgotten, where the network is conditioned on labels; else None.
    reference_classifier: label probabilities (N, classes), on the CPU, of images (N, C, H, W), by a classifier of real
    images that has seen none of these. Only where the data set has labels.
    streams: for the attack's own randomness. first: the number of the first of the samples that `forget_probability` is
    measured on (see Release.sample).
    """

    model: QueriedModel
    before: QueriedModel | None
    retrained: QueriedModel
    forget: Images
    unseen: Images
    retained: Images
    label: int | None
    reference_classifier: Callable[[ImagesLike], Tensor]
    streams: Rng
    device: torch.device
    first: int = 0


class UnlearningAttack(Attack):
    """An attack that looks for what was to be forgotten, in the release and in the same way in the retrained model."""

    family = "unlearning"

    def auxiliary_models(self) -> tuple[AuxiliaryModel, ...]:
        """Ask for the null: the model that was trained without what is to be forgotten."""
        return (RETRAINED,)

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse a suite that names nothing to forget."""
        if setting.forget == "nothing":
            return Skip("there is nothing to forget: write a [forget] table with `label` or `share`")
        return None

    def run(self, ground: UnlearningContext) -> UnlearningEvidence:
        """Attack both models, and return the numbers as they are."""
        raise NotImplementedError

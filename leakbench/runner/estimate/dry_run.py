"""How many network calls attacks make: they are run on a few images against a tiny network that counts.

All membership attacks of a release are run together, as in the audit, so calls that they share are counted once;
attacks that learn are fitted, and shadow models are asked as well. A call with gradients counts as three. Choices of
ours: the network is a small MLP for any image size, the images are noise, and attacks that cannot be run so are taken
to make `_UNKNOWN` calls each. Calls inside `torch.func` are seen once a batch, not once an image: too few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from leakbench.api import Access, AttributeAttack, MembershipAttack, Release
from leakbench.api.answer_cache import QueriedRelease
from leakbench.data.image_batch import Images
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, AuxiliaryRelease
from leakbench.measurement.release_audit import collect_auxiliary_models
from leakbench.models import networks
from leakbench.models.diffusion import Schedule
from leakbench.runtime.device import Rng

_EACH = 8  # images of each part
_UNKNOWN = 20.0
_PARTS = ("member", "nonmember", "calibration_in", "calibration_out", "reference")


class CountingModel:
    """A release of images of a shape, whose network counts the images that it is called with."""

    def __init__(self, shape: tuple[int, int, int], conditions: int, schedule: Schedule) -> None:
        spec = networks.NetworkSpec(kind="mlp", shape=shape, width=8, blocks=1, conditions=conditions)
        self.streams, self.counted = Rng("rehearsal", 0), 0.0
        network = networks.build(spec, self.streams.of("weights")).eval().requires_grad_(False)
        network.register_forward_pre_hook(self._count)
        release = Release(network, schedule, self.streams, shape, torch.device("cpu"), batch=_EACH)
        self.parts = {name: self._images(number, shape, conditions) for number, name in enumerate(_PARTS)}
        self.source = QueriedRelease(release, lambda: self.parts["reference"].images[:])

    def _count(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.counted += inputs[0].shape[:-3].numel() * (3.0 if torch.is_grad_enabled() else 1.0)

    def _images(self, part: int, shape: tuple[int, int, int], conditions: int) -> Images:
        ids = torch.arange(part * _EACH, (part + 1) * _EACH)
        images: Tensor = self.streams.of("images").normal(ids, shape).clamp(-1, 1)
        return Images(images, ids, ids % conditions if conditions else None)


def calls_of(
    attacks: Sequence[MembershipAttack], shape: tuple[int, int, int], conditions: int, schedule: Schedule
) -> float:
    """Network calls an attacked image, of all these attacks together at one level."""
    if not attacks:
        return 0.0
    stage = CountingModel(shape, conditions, schedule)
    parts = stage.parts
    seen = np.concatenate([parts[name].ids.numpy() for name in ("member", "calibration_in")])
    others = {need.name: AuxiliaryRelease(stage.source, seen) for need in collect_auxiliary_models(tuple(attacks))}
    asked = {str(i): AttackRequest(attack, attack.access is Access.WEIGHTS) for i, attack in enumerate(attacks)}
    try:
        collect_membership_evidence(AttackTarget(stage.source, stage.streams, others), asked, parts)
    except Exception:  # whatever they lack here, the run will show
        return _UNKNOWN * len(attacks)
    return stage.counted / (_EACH * (len(parts) - 1))


def calls_of_attribute(attack: AttributeAttack, shape: tuple[int, int, int], schedule: Schedule) -> float:
    """Network calls an image, of an attack on the attribute of images at one level."""
    stage = CountingModel(shape, 2, schedule)
    images = Images(stage.parts["member"].images, stage.parts["member"].ids, None)
    try:
        AttackTarget(stage.source, stage.streams).score(
            {"": AttackRequest(cast(MembershipAttack, attack), False)}, images
        )
    except Exception:  # one that has to be fitted first
        return _UNKNOWN
    return stage.counted / _EACH

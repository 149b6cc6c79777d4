"""Counts the network calls that attacks make, by running them on a few images against a tiny network that counts.

All membership attacks of a release are run together, as in the audit, so calls that they share are counted once;
attacks that learn are fitted, and shadow models are asked as well. A call with gradients counts as three. Choices of
ours: the network is a small MLP for any image size, the images are noise, attacks that cannot be run so are taken to
make `_UNKNOWN` calls each, and an attack that learns is fitted once: the fits that leave out a fold of the calibration
images are taken to make as many calls each. Calls inside `torch.func` are seen once a batch, not once an image: too
few.
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
from leakbench.measurement.audit_context import collect_auxiliary_models
from leakbench.measurement.membership_evidence import CALIBRATION_FOLDS, CalibrationFitter
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, AuxiliaryRelease
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


def count_membership_calls(
    attacks: Sequence[MembershipAttack], shape: tuple[int, int, int], conditions: int, schedule: Schedule
) -> float:
    """Network calls an attacked image, of all these attacks together at one level."""
    if not attacks:
        return 0.0
    model = CountingModel(shape, conditions, schedule)
    try:
        _run_membership(model, attacks)
    except Exception:  # whatever they lack here, the run will show
        return _UNKNOWN * len(attacks)
    return model.counted / (_EACH * (len(_PARTS) - 1))


def _run_membership(model: CountingModel, attacks: Sequence[MembershipAttack]) -> None:
    parts = model.parts
    seen = np.concatenate([parts[name].ids.numpy() for name in ("member", "calibration_in")])
    others = {need.name: AuxiliaryRelease(model.source, seen) for need in collect_auxiliary_models(tuple(attacks))}
    target = AttackTarget(model.source, model.streams, others)
    calibration = Images.concatenate([parts["calibration_in"], parts["calibration_out"]])
    fitter = CalibrationFitter(target, calibration, np.repeat([True, False], _EACH), parts["reference"])
    fitted = {}
    for number, attack in enumerate(attacks):
        before, request = model.counted, AttackRequest(attack, attack.access is Access.WEIGHTS)
        fitted[str(number)] = AttackRequest(fitter.fit(request), request.raw)
        if attack.out_of_fold:
            model.counted += (model.counted - before) * CALIBRATION_FOLDS
            before = model.counted
            target.score({"": fitted[str(number)]}, calibration.take(torch.arange(2 * _EACH // CALIBRATION_FOLDS)))
            model.counted += (model.counted - before) * (CALIBRATION_FOLDS - 1)
    target.score(fitted, Images.concatenate([parts[name] for name in _PARTS[:-1]]))


def count_attribute_calls(attack: AttributeAttack, shape: tuple[int, int, int], schedule: Schedule) -> float:
    """Network calls an image, of an attack on the attribute of images at one level."""
    model = CountingModel(shape, 2, schedule)
    images = Images(model.parts["member"].images, model.parts["member"].ids, None)
    request = AttackRequest(cast(MembershipAttack, attack), False)
    try:
        AttackTarget(model.source, model.streams).score({"": request}, images)
    except Exception:  # one that has to be fitted first
        return _UNKNOWN
    return model.counted / _EACH

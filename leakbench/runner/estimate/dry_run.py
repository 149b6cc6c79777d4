"""Counts the network calls that attacks make, by running them on a few images against a tiny network that counts.

All membership attacks of a release score together, as in the audit, so calls that they share are counted once; what an
attack that learns asks in a fit is counted for itself, of calibration and of public images; shadow models are asked as
well. A call with gradients counts as three. Choices of ours: the network is a small MLP for any image size, the images
are noise, and attacks that cannot be run so are taken to make `_UNKNOWN` calls each. Calls inside `torch.func` are seen
once a batch, not once an image: too few.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from leakbench.api import (
    Access,
    Attack,
    AttributeAttack,
    MembershipAttack,
    MemorisationAttack,
    Query,
    RecoveryAttack,
    Release,
)
from leakbench.api.answer_cache import QueriedRelease
from leakbench.api.views import QueryCount
from leakbench.data.image_batch import Images
from leakbench.measurement.audit_context import collect_auxiliary_models
from leakbench.measurement.extraction import recover
from leakbench.measurement.membership_evidence import CalibrationFitter
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, AuxiliaryRelease
from leakbench.models import networks
from leakbench.models.diffusion import Schedule
from leakbench.runner.estimate.attack_calls import AttackCalls
from leakbench.runtime.device import Rng

_EACH = 8  # images of each part
_UNKNOWN = 20.0
_LONG = 0.05  # seconds of a fit that is timed once more
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

    @cached_property
    def scored(self) -> Images:
        """The images of the parts that attacks score."""
        return Images.concatenate([self.parts[name] for name in _PARTS[:-1]])

    def _count(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.counted += inputs[0].shape[:-3].numel() * (3.0 if torch.is_grad_enabled() else 1.0)

    def _images(self, part: int, shape: tuple[int, int, int], conditions: int) -> Images:
        ids = torch.arange(part * _EACH, (part + 1) * _EACH)
        images: Tensor = self.streams.of("images").normal(ids, shape).clamp(-1, 1)
        return Images(images, ids, ids % conditions if conditions else None)


class DryRun:
    """Counts by running attacks (leakbench.runner.estimate.time_estimate.Calls)."""

    def membership(
        self, attacks: Sequence[MembershipAttack], spec: networks.NetworkSpec, schedule: Schedule
    ) -> tuple[float, list[AttackCalls]]:
        """Calls of an image that all of them score together, and the calls of each alone."""
        return count_membership_calls(attacks, spec.shape, spec.conditions, schedule)

    def own(self, attack: Any, shape: tuple[int, int, int], schedule: Schedule) -> float:
        """Calls of an image that is asked for its attribute, or of a prompt."""
        return count_own_calls(attack, shape, schedule)

    def recovery(self, attack: Any, shape: tuple[int, int, int], schedule: Schedule) -> float:
        """Calls of an image that is to be got back."""
        return count_recovery_calls(attack, shape, schedule)


def count_membership_calls(
    attacks: Sequence[MembershipAttack], shape: tuple[int, int, int], conditions: int, schedule: Schedule
) -> tuple[float, list[AttackCalls]]:
    """Calls of an image that all these attacks score together at one level, and the calls of each attack alone."""
    counted = [_count(attack, shape, conditions, schedule) for attack in attacks]
    alone = [calls for calls, _ in counted]
    fitted = {str(number): one for number, (_, one) in enumerate(counted) if one is not None}
    if len(attacks) < 2 or not fitted:
        return sum(one.scoring for one in alone), alone
    model = CountingModel(shape, conditions, schedule)
    _target(model, [one.attack for one in fitted.values()]).score(fitted, model.scored)
    unknown = sum(calls.scoring for calls, one in counted if one is None)
    return model.counted / len(model.scored.ids) + unknown, alone


def _count(
    attack: MembershipAttack, shape: tuple[int, int, int], conditions: int, schedule: Schedule
) -> tuple[AttackCalls, AttackRequest | None]:
    """Calls of an attack, and the attack as it was fitted; None where it cannot be run."""
    model = CountingModel(shape, conditions, schedule)
    parts, raw = model.parts, attack.access is Access.WEIGHTS
    calibration = Images.concatenate([parts["calibration_in"], parts["calibration_out"]])
    target = _target(model, [attack])
    try:
        fitter = CalibrationFitter(target, calibration, np.repeat([True, False], _EACH), parts["reference"])
        fitted, first = _fit(fitter, AttackRequest(attack, raw))
        asked = dict(target.asked)
        # The first fit may have imported something.
        seconds = min(first, _fit(fitter, AttackRequest(attack, raw))[1]) if first > _LONG else first
        model.counted = 0.0
        target.score({"": fitted}, model.scored)
    except Exception:  # whatever it lacks here, the run will show
        return AttackCalls(_UNKNOWN, out_of_fold=attack.out_of_fold), None
    scoring = model.counted / len(model.scored.ids)
    return AttackCalls(scoring, asked[False] / (2 * _EACH), asked[True] / _EACH, attack.out_of_fold, seconds), fitted


def _fit(fitter: CalibrationFitter, request: AttackRequest) -> tuple[AttackRequest, float]:
    """The attack as it was fitted, and the seconds of the process that its fit took."""
    began = time.process_time()
    fitted = replace(request, attack=fitter.fit(request))
    return fitted, time.process_time() - began


@dataclass(frozen=True)
class _TalliedTarget(AttackTarget):
    """Tells the calls that a fit makes: `asked`, by whether they are of public images."""

    model: CountingModel | None = None
    asked: dict[bool, float] = field(default_factory=lambda: {False: 0.0, True: 0.0})

    def ask(
        self, question: Query, attack: Attack, raw: bool, images: Images, count: QueryCount | None = None
    ) -> Tensor:
        """As a target does."""
        assert self.model is not None
        before = self.model.counted
        answer = super().ask(question, attack, raw, images, count)
        self.asked[bool(images.ids[0] >= len(_PARTS[:-1]) * _EACH)] += self.model.counted - before
        return answer


def _target(model: CountingModel, attacks: Sequence[MembershipAttack]) -> _TalliedTarget:
    seen = np.concatenate([model.parts[name].ids.numpy() for name in ("member", "calibration_in")])
    others = {need.name: AuxiliaryRelease(model.source, seen) for need in collect_auxiliary_models(tuple(attacks))}
    return _TalliedTarget(model.source, model.streams, others, model)


def count_own_calls(
    attack: AttributeAttack | MemorisationAttack, shape: tuple[int, int, int], schedule: Schedule
) -> float:
    """Network calls of an attack at one level: an image that is asked for its attribute, or a prompt."""
    model = CountingModel(shape, 2, schedule)
    images = model.parts["member"]
    if isinstance(attack, AttributeAttack):
        images = replace(images, labels=None)
    request = AttackRequest(cast(MembershipAttack, attack), False)
    try:
        AttackTarget(model.source, model.streams).score({"": request}, images)
    except Exception:  # one that has to be fitted first
        return _UNKNOWN
    return model.counted / _EACH


def count_recovery_calls(attack: RecoveryAttack, shape: tuple[int, int, int], schedule: Schedule) -> float:
    """Network calls an image, of an attack that tries to get images back."""
    model = CountingModel(shape, 0, schedule)
    try:
        recover(AttackTarget(model.source, model.streams), attack, model.parts["member"])
    except Exception:  # whatever it lacks here, the run will show
        return _UNKNOWN
    return model.counted / _EACH

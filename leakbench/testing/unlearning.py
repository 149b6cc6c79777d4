"""Checks of an attack on unlearning."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache, partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from leakbench.api import (
    Access,
    AuditSetting,
    QueriedModel,
    Query,
    UnlearningAttack,
    UnlearningContext,
    UnlearningEvidence,
)
from leakbench.api.answer_cache import QueriedRelease
from leakbench.data.image_batch import Images
from leakbench.data.image_view import ImagesLike
from leakbench.measurement.query_engine import AttackTarget, AuxiliaryRelease
from leakbench.metrics.evaluate.unlearning import arrays_of, evaluate_unlearning
from leakbench.models.diffusion import Schedule
from leakbench.testing.toy_model import CLOSE, COUNT, SHAPE, Check, Plain, images, plain, streams

_GROUPS = ("forget", "unseen", "retained")
_FORGET: tuple[Literal["subset", "label"], ...] = ("subset", "label")


class Forgets(Plain):
    """A step that forgets, for the setting of an attack under check."""

    name = "forgets"
    needs_base = True
    forgets = True


class UnlearningChecks:
    """Checks of an attack on unlearning, on three models of random weights."""

    def __init__(self, plugin: type[UnlearningAttack]) -> None:
        # The shortest attack that is one: a parameter called steps is lowered, whatever else stays at its default.
        self.attack = plugin(**({"steps": 4} if "steps" in plugin.model_fields else {}))
        self._first = cache(self._run)

    @property
    def setting(self) -> AuditSetting:
        """The plainest setting in which the attack is run."""
        reasons, pixels = [], SHAPE[1] * SHAPE[2]
        for condition, forget in itertools.product(("none", "label", "attribute"), _FORGET):
            setting = AuditSetting((Plain(), Forgets()), condition, forget, Schedule().T, COUNT, pixels)
            found = self.attack.skip(setting)
            if found is None:
                return setting
            reasons.append(found.reason)
        raise ValueError(f"it is skipped in every setting: {reasons[-1]}")

    def _run(self, batch: int = 16) -> UnlearningEvidence:
        return self.attack.run(self._ground(batch))

    def _ground(self, batch: int) -> UnlearningContext:
        setting = self.setting
        ours, before, null = (self._model(name, setting.condition, batch) for name in ("plain", "before", "retrained"))
        forget, unseen, retained = (_group(number, setting) for number in range(3))
        label = 0 if setting.condition == "label" and setting.forget == "label" else None
        return UnlearningContext(
            ours, before, null, forget, unseen, retained, label, _reference_classifier, streams(), torch.device("cpu")
        )

    def _model(self, weights: str, condition: str, batch: int) -> QueriedModel:
        release, others = plain(batch, condition, weights), {}
        for need in self.attack.auxiliary_models():
            other = plain(batch, condition, need.name)
            others[need.name] = AuxiliaryRelease(QueriedRelease(other, partial(other.sample, 8)), np.arange(0))
        target = AttackTarget(QueriedRelease(release, partial(release.sample, 8)), streams(), others)

        def ask(question: Query, images: Images) -> Tensor:
            return target.ask(question, self.attack, self.attack.access is Access.WEIGHTS, images)

        return QueriedModel(ask, release if self.attack.access is Access.WEIGHTS else None)

    def checks(self) -> Iterator[Check]:
        """In the order in which they are reported."""
        yield "its access level suffices, and it answers with evidence", lambda: bool(arrays_of(self._first()))
        yield "every score is one an image, every curve one row a step", self._shapes
        yield "its numbers are finite", self._finite
        yield "they are the same twice", lambda: self._same(self._run(), exact=True)
        yield "batch size does not change them", lambda: self._same(self._run(5), exact=False)
        yield "they make metrics", lambda: bool(evaluate_unlearning(self._first()).metrics)

    def _shapes(self) -> bool:
        evidence = self._first()
        counts = [
            scores is None or np.shape(scores) == (COUNT,)
            for contrast in evidence.scores.values()
            for side in (contrast.model, contrast.retrained)
            for scores in (side.forget, side.unseen)
        ]
        curves = [
            curve.model.shape == curve.retrained.shape and len(curve.model) == len(curve.steps) and curve.steps[0] == 0
            for curve in evidence.curves.values()
        ]
        return all([*counts, *curves])

    def _finite(self) -> bool:
        return all(np.isfinite(array).all() for array in arrays_of(self._first()).values())

    def _same(self, other: UnlearningEvidence, exact: bool) -> bool:
        ours, theirs = arrays_of(self._first()), arrays_of(other)
        close = {"rtol": 0.0, "atol": 0.0} if exact else CLOSE
        return ours.keys() == theirs.keys() and all(np.allclose(ours[name], theirs[name], **close) for name in ours)


def _group(number: int, setting: AuditSetting) -> Images:
    rows = torch.arange(COUNT)
    label = rows % 2 if setting.forget == "subset" else torch.full_like(rows, int(_GROUPS[number] == "retained"))
    return Images(images(COUNT, _GROUPS[number]), rows + number * COUNT, None if setting.condition == "none" else label)


def _reference_classifier(pictures: ImagesLike) -> Tensor:
    """Some probabilities of two labels, by the mean of an image."""
    bright = pictures[:].flatten(1).mean(dim=1).mul(8.0).sigmoid()
    return torch.stack([bright, 1 - bright], dim=1)

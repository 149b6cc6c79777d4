"""Checks of an attack on unlearning, on three models of random weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

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
from leakbench.metrics.evaluate.unlearning import evaluate_unlearning, flatten_evidence
from leakbench.testing.check import CLOSE, Check, CheckFailed, expect, expect_finite, expect_same
from leakbench.testing.settings import attack_setting, shortened
from leakbench.testing.toys import COUNT, toy_images, toy_release, toy_rng

_GROUPS = ("forget", "unseen", "retained")


def unlearning_checks(plugin: type[UnlearningAttack]) -> Iterator[Check]:
    """Checks of the evidence: shapes, finite numbers, the same in another run and in other batches."""
    method = plugin.run
    first = cache(lambda: _run(plugin))

    def alike(batch: int, ways: tuple[str, str], **close: Any) -> None:
        ours, theirs = flatten_evidence(first()), flatten_evidence(_run(plugin, batch))
        expect(ours.keys() == theirs.keys(), f"evidence of {sorted(ours)}", str(sorted(theirs)), method)
        for name in ours:
            expect_same(ours[name], theirs[name], f"`{name}`, image", ways, method, **close)

    def finite() -> None:
        for name, array in flatten_evidence(first()).items():
            expect_finite(array, f"`{name}`, image", method)

    def answers() -> None:
        expect(bool(flatten_evidence(first())), "evidence with scores or curves", "neither", method)

    def measured() -> None:
        expect(bool(evaluate_unlearning(first()).metrics), "at least one metric", "none", method)

    yield Check("its access level suffices, and it answers with evidence", answers, method)
    yield Check("every score is one an image, every curve one row a step", lambda: _shapes(first(), method), method)
    yield Check("its numbers are finite", finite, method)
    yield Check("they are the same twice", lambda: alike(16, ("in one run", "in another")), method)
    sizes = ("in batches of 16", "in batches of 11")
    yield Check("batch size does not change them", lambda: alike(11, sizes, **CLOSE), method)
    yield Check(
        "they make metrics",
        lambda: expect(bool(evaluate_unlearning(first()).metrics), "metrics", "none", method),
        method,
    )


def _shapes(evidence: UnlearningEvidence, method: Callable[..., Any]) -> None:
    for name, pair in evidence.scores.items():
        for scores in (pair.model.forget, pair.model.unseen, pair.retrained.forget, pair.retrained.unseen):
            if scores is not None and np.shape(scores) != (COUNT,):
                raise CheckFailed(f"scores `{name}` of shape ({COUNT},)", str(np.shape(scores)), method)
    for name, curve in evidence.curves.items():
        rows = (len(curve.steps), len(curve.model), len(curve.retrained))
        expect(curve.model.shape == curve.retrained.shape, f"curves `{name}` of one shape", str(rows), method)
        expect(rows[0] == rows[1], f"curve `{name}` to have a row for each of its steps", str(rows), method)
        expect(curve.steps[0] == 0, f"curve `{name}` to begin at step 0", str(curve.steps[0]), method)


def _run(plugin: type[UnlearningAttack], batch: int = 16) -> UnlearningEvidence:
    attack = plugin(**shortened(plugin))
    setting = attack_setting(attack)
    ours, before, null = (_model(attack, name, setting.condition, batch) for name in ("plain", "before", "retrained"))
    forget, unseen, retained = (_group(number, setting) for number in range(3))
    label = 0 if setting.condition == "label" and setting.forget == "label" else None
    given = UnlearningContext(
        ours, before, null, forget, unseen, retained, label, _reference_classifier, toy_rng(), torch.device("cpu")
    )
    return attack.run(given)


def _model(attack: UnlearningAttack, weights: str, condition: str, batch: int) -> QueriedModel:
    release, others = toy_release(batch, condition, weights), {}
    for need in attack.auxiliary_models():
        other = toy_release(batch, condition, need.name)
        others[need.name] = AuxiliaryRelease(QueriedRelease(other, partial(other.sample, 8)), np.arange(0))
    target = AttackTarget(QueriedRelease(release, partial(release.sample, 8)), toy_rng(), others)

    def ask(question: Query, images: Images) -> Tensor:
        return target.ask(question, attack, attack.access is Access.WEIGHTS, images)

    return QueriedModel(ask, release if attack.access is Access.WEIGHTS else None)


def _group(number: int, setting: AuditSetting) -> Images:
    rows = torch.arange(COUNT)
    label = rows % 2 if setting.forget == "subset" else torch.full_like(rows, int(_GROUPS[number] == "retained"))
    labels = None if setting.condition == "none" else label
    return Images(toy_images(COUNT, _GROUPS[number]), rows + number * COUNT, labels)


def _reference_classifier(images: ImagesLike) -> Tensor:
    """Probabilities (N, 2) of two labels, by the mean of an image."""
    bright = images[:].flatten(1).mean(dim=1).mul(8.0).sigmoid()
    return torch.stack([bright, 1 - bright], dim=1)

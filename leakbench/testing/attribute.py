"""Checks of an attribute attack, through a view of its own access level and without any label."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Access, AttributeAttack, AttributeTrainingSet, Query
from leakbench.api.answer_cache import QueriedRelease
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.testing.check import Check, expect
from leakbench.testing.scores import score_checks
from leakbench.testing.settings import attack_setting, parts_missing
from leakbench.testing.toys import COUNT, toy_images, toy_release, toy_rng

_KINDS = ("samples", "images", "pairs")


def attribute_checks(plugin: type[AttributeAttack]) -> Iterator[Check]:
    """Checks of what it is asked about, and of its scores."""
    yield Check(
        "it says of what it is asked: samples, images or pairs",
        lambda: expect(plugin.of in _KINDS, f"`of` to be one of {', '.join(_KINDS)}", repr(plugin.of), plugin),
        plugin,
    )
    if plugin.access is Access.WEIGHTS and (lacking := parts_missing(plugin())):
        yield Check("it scores", lambda: None, skip=lacking)
        return
    yield from score_checks(partial(_scores, plugin), plugin.score, plugin.access is Access.DENOISER)


def _scores(plugin: type[AttributeAttack], batch: int = 16, reverse: bool = False) -> tuple[np.ndarray, float]:
    attack = plugin()
    raw, condition = attack.access is Access.WEIGHTS, attack_setting(attack).condition
    release = toy_release(batch, condition)
    target = AttackTarget(QueriedRelease(release, partial(release.sample, 8)), toy_rng())
    known, asked = (Images(_images(plugin, name), torch.arange(COUNT), None) for name in ("known", "asked"))

    def ask(question: Query) -> Tensor:
        return target.ask(question, attack, raw, known)

    fitted = attack.fit(AttributeTrainingSet(known.images, None, ask, torch.arange(COUNT) % 2, toy_rng()))
    rows = torch.arange(COUNT - 1, -1, -1) if reverse else torch.arange(COUNT)
    found, queries = target.score({"it": AttackRequest(fitted, raw)}, asked.take(rows))  # type: ignore[arg-type]
    return found["it"][::-1] if reverse else found["it"], queries["it"]


def _images(plugin: type[AttributeAttack], name: str) -> Tensor:
    """Images, or pairs of them."""
    count = 2 if plugin.of == "pairs" else 1
    return torch.cat([toy_images(COUNT, f"{name} {number}") for number in range(count)], dim=1)

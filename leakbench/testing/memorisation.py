"""Checks of an attack that flags memorised prompts, through a view of its own access level."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import numpy as np
import torch

from leakbench.api import Access, MemorisationAttack
from leakbench.api.answer_cache import QueriedRelease
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.testing.check import Check, CheckFailed
from leakbench.testing.scores import score_checks
from leakbench.testing.toys import COUNT, toy_images, toy_release, toy_rng


def memorisation_checks(plugin: type[MemorisationAttack]) -> Iterator[Check]:
    """Checks of its scores, and that they do not follow from images."""
    counted = plugin.access in (Access.API, Access.DENOISER)
    yield from score_checks(partial(_scores, plugin), plugin.score, counted)
    yield Check("it reads no image", lambda: _reads_no_image(plugin), plugin.score)


def _scores(
    plugin: type[MemorisationAttack], batch: int = 16, reverse: bool = False, pictures: str = "one"
) -> tuple[np.ndarray, float]:
    attack = plugin()
    release = toy_release(batch, "label")
    rows = torch.arange(COUNT - 1, -1, -1) if reverse else torch.arange(COUNT)
    images = Images(toy_images(COUNT, pictures)[rows], rows, rows % 2)
    target = AttackTarget(QueriedRelease(release, partial(release.sample, 8)), toy_rng())
    request = AttackRequest(cast(Any, attack), attack.access is Access.WEIGHTS)
    found, queries = target.score({"it": request}, images)
    return found["it"][::-1] if reverse else found["it"], queries["it"]


def _reads_no_image(plugin: type[MemorisationAttack]) -> None:
    one, other = (_scores(plugin, pictures=name)[0] for name in ("one", "other"))
    if not np.array_equal(one, other):
        raise CheckFailed("the same scores beside other images", "other scores", plugin.score)

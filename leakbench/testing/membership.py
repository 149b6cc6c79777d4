"""Checks of a membership attack, through a view of its own access level."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Access, MembershipAttack
from leakbench.api.answer_cache import QueriedRelease
from leakbench.data.image_batch import Images
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, AuxiliaryRelease
from leakbench.testing.check import Check
from leakbench.testing.scores import score_checks
from leakbench.testing.settings import attack_setting, parts_missing
from leakbench.testing.toys import COUNT, toy_images, toy_release, toy_rng

_PARTS = ("member", "nonmember", "calibration_in", "calibration_out", "reference")


def membership_checks(plugin: type[MembershipAttack]) -> Iterator[Check]:
    """Checks of the scores; an attack that reads parts of a release which a toy does not ship is not run."""
    if plugin.access is Access.WEIGHTS and (lacking := parts_missing(plugin())):  # no other view has any parts
        yield Check("it scores", lambda: None, skip=lacking)
        return
    counted = plugin.access in (Access.API, Access.DENOISER)
    yield from score_checks(partial(membership_scores, plugin), plugin.score, counted)


def membership_scores(
    plugin: type[MembershipAttack], batch: int = 16, reverse: bool = False
) -> tuple[np.ndarray, float]:
    """Scores of 24 toy members and 24 nonmembers, and queries an image, of an attack at its defaults."""
    attack = plugin()
    condition = attack_setting(attack).condition
    found, queries = collect_membership_evidence(
        _target(attack, condition, batch),
        {"it": AttackRequest(attack, attack.access is Access.WEIGHTS)},
        {name: _part(number, condition, reverse and number < 2) for number, name in enumerate(_PARTS)},
        folds=2,  # enough to show that it can be fitted in parts
    )
    step = -1 if reverse else 1
    scores = [found["it"].member_scores[::step], found["it"].nonmember_scores[::step]]
    return np.concatenate(scores), queries["it"]


def _target(attack: MembershipAttack, condition: str, batch: int) -> AttackTarget:
    release, others = toy_release(batch, condition), {}
    for need in attack.auxiliary_models():
        other = toy_release(batch, condition, weights=need.name)
        rows = np.arange(need.draw % 2, 4 * COUNT, 2)
        others[need.name] = AuxiliaryRelease(QueriedRelease(other, partial(other.sample, 8)), rows)
    return AttackTarget(QueriedRelease(release, partial(release.sample, 8)), toy_rng(), others)


def _part(number: int, condition: str, reverse: bool) -> Images:
    rows = torch.arange(COUNT - 1, -1, -1) if reverse else torch.arange(COUNT)
    labels: Tensor | None = None if condition == "none" else rows % 2
    return Images(toy_images(COUNT, _PARTS[number])[rows], rows + number * COUNT, labels)

"""Checks of a membership attack."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Access, AuditSetting, MembershipAttack
from leakbench.api.answer_cache import QueriedRelease
from leakbench.data.image_batch import Images
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, AuxiliaryRelease
from leakbench.testing.toy_model import CLOSE, COUNT, Check, images, parts_missing, plain, setting_for, streams

_PARTS = ("member", "nonmember", "calibration_in", "calibration_out", "reference")


class MembershipChecks:
    """Checks of a membership attack, through a view of its own access level."""

    def __init__(self, plugin: type[MembershipAttack]) -> None:
        self.plugin = plugin
        self._first = cache(self._scores)

    @property
    def _setting(self) -> AuditSetting:
        return setting_for(self.plugin())

    def _scores(self, batch: int = 16, reverse: bool = False) -> np.ndarray:
        attack, condition = self.plugin(), self._setting.condition
        found, queries = collect_membership_evidence(
            self._target(attack, condition, batch),
            {"it": AttackRequest(attack, attack.access is Access.WEIGHTS)},
            {name: _part(number, condition, reverse and number < 2) for number, name in enumerate(_PARTS)},
            folds=2,  # enough to show that it can be fitted in parts
        )
        self.queries = queries["it"]
        step = -1 if reverse else 1
        return np.concatenate([found["it"].member_scores[::step], found["it"].nonmember_scores[::step]])

    def _target(self, attack: MembershipAttack, condition: str, batch: int) -> AttackTarget:
        release, others = plain(batch, condition), {}
        for need in attack.auxiliary_models():
            other = plain(batch, condition, weights=need.name)
            rows = np.arange(need.draw % 2, 4 * COUNT, 2)
            others[need.name] = AuxiliaryRelease(QueriedRelease(other, partial(other.sample, 8)), rows)
        return AttackTarget(QueriedRelease(release, partial(release.sample, 8)), streams(), others)

    def checks(self) -> Iterator[Check]:
        """In the order in which they are reported."""
        lacking = parts_missing(self.plugin()) if self.plugin.access is Access.WEIGHTS else ""  # no other view has any
        if lacking:
            yield f"it runs where nothing is lacking ({lacking}; not checked here)", lambda: True
            return
        yield (
            "a view of its access level suffices, it scores every image and writes to none",
            lambda: bool(len(self._first())),
        )
        yield "scores are finite", lambda: bool(np.isfinite(self._first()).all())
        yield "scores are the same twice", lambda: np.array_equal(self._first(), self._scores())
        yield "batch size does not change them", lambda: np.allclose(self._first(), self._scores(5), **CLOSE)
        yield "order does not change them", lambda: np.allclose(self._first(), self._scores(reverse=True), **CLOSE)
        yield "queries are counted where the access allows any", self._counted

    def _counted(self) -> bool:
        self._first()
        return self.queries > 0 or self.plugin.access in (Access.NONE, Access.SAMPLES, Access.WEIGHTS)


def _part(number: int, condition: str, reverse: bool) -> Images:
    rows = torch.arange(COUNT - 1, -1, -1) if reverse else torch.arange(COUNT)
    labels: Tensor | None = None if condition == "none" else rows % 2
    return Images(images(COUNT, _PARTS[number])[rows], rows + number * COUNT, labels)

"""Checks of an auditing attack."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial

import numpy as np
import torch

from leakbench.api import CANARY, Access, AuditingAttack
from leakbench.api.answer_cache import QueriedRelease
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, AuxiliaryRelease
from leakbench.testing.toy_model import CLOSE, COUNT, Check, images, parts_missing, plain, setting_for, streams


class AuditingChecks:
    """Checks of an auditing attack, through a view of its own access level that tells no coin."""

    def __init__(self, plugin: type[AuditingAttack]) -> None:
        self.plugin = plugin
        self._first = cache(self._scores)

    def _scores(self, batch: int = 16, reverse: bool = False) -> np.ndarray:
        attack = self.plugin()
        condition = setting_for(attack).condition
        release = plain(batch, condition)
        source = QueriedRelease(release, partial(release.sample, 8))
        target = AttackTarget(source, streams(), {CANARY.name: AuxiliaryRelease(source, np.empty(0, dtype=np.int64))})
        rows = torch.arange(COUNT - 1, -1, -1) if reverse else torch.arange(COUNT)
        asked = Images(images(COUNT, "canaries")[rows], rows, None if condition == "none" else rows % 2)
        scorer = AttackRequest(attack, attack.access is Access.WEIGHTS)  # type: ignore[arg-type]
        found = target.score({"it": scorer}, asked)[0]["it"]
        return found[::-1] if reverse else found

    def checks(self) -> Iterator[Check]:
        """In the order in which they are reported."""
        yield "it needs the canary release and no other", lambda: self.plugin().auxiliary_models() == (CANARY,)
        if lacking := parts_missing(self.plugin()):
            yield f"it runs where nothing is lacking ({lacking}; not checked here)", lambda: True
            return
        yield (
            "a view of its access level suffices, it scores every canary and writes to none",
            lambda: bool(len(self._first())),
        )
        yield "scores are finite", lambda: bool(np.isfinite(self._first()).all())
        yield "scores are the same twice", lambda: np.array_equal(self._first(), self._scores())
        yield "batch size does not change them", lambda: np.allclose(self._first(), self._scores(5), **CLOSE)
        yield "order does not change them", lambda: np.allclose(self._first(), self._scores(reverse=True), **CLOSE)

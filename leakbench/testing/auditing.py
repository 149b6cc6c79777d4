"""Checks of an auditing attack, through a view of its own access level that does not tell which canaries are in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from leakbench.api import Access, AuditingAttack
from leakbench.api.answer_cache import QueriedRelease
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, AuxiliaryRelease
from leakbench.testing.check import Check, expect
from leakbench.testing.scores import score_checks
from leakbench.testing.settings import attack_setting, parts_missing
from leakbench.testing.toys import COUNT, toy_images, toy_release, toy_rng


def auditing_checks(plugin: type[AuditingAttack]) -> Iterator[Check]:
    """Checks of the models that it asks for, and of its scores."""

    def needs() -> None:
        names = [need.name for need in plugin().auxiliary_models()]
        expect(
            names == [plugin().canary_model.name],
            "the canary release and no other",
            repr(names),
            plugin.auxiliary_models,
        )

    yield Check("it needs the canary release and no other", needs, plugin.auxiliary_models)
    if lacking := parts_missing(plugin()):
        yield Check("it scores", lambda: None, skip=lacking)
        return
    yield from score_checks(partial(_scores, plugin), plugin.score, counted=False)


def _scores(plugin: type[AuditingAttack], batch: int = 16, reverse: bool = False) -> tuple[np.ndarray, float]:
    attack = plugin()
    condition = attack_setting(attack).condition
    release = toy_release(batch, condition)
    source = QueriedRelease(release, partial(release.sample, 8))
    target = AttackTarget(
        source, toy_rng(), {attack.canary_model.name: AuxiliaryRelease(source, np.empty(0, dtype=np.int64))}
    )
    rows = torch.arange(COUNT - 1, -1, -1) if reverse else torch.arange(COUNT)
    asked = Images(toy_images(COUNT, "canaries")[rows], rows, None if condition == "none" else rows % 2)
    scorer = AttackRequest(attack, attack.access is Access.WEIGHTS)  # type: ignore[arg-type]
    found, queries = target.score({"it": scorer}, asked)
    return found["it"][::-1] if reverse else found["it"], queries["it"]

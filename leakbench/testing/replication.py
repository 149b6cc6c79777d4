"""Checks of a replication attack."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from math import isfinite

import numpy as np
import torch
from torch import Tensor

from leakbench.api import AuditSetting, RecoveryAttack, ReplicationAttack
from leakbench.api.answer_cache import QueriedRelease
from leakbench.data.image_batch import Images
from leakbench.data.image_view import ImageView
from leakbench.data.neighbours import Matches
from leakbench.measurement.extraction import Extracted, extract_candidates, recover
from leakbench.measurement.query_engine import AttackTarget
from leakbench.models.diffusion import Schedule
from leakbench.testing.toy_model import CLOSE, COUNT, SHAPE, Check, images, plain, streams

_CONDITIONS = ("none", "label", "attribute")
_TRAIN = 64  # training images: some attacks look at that many neighbours
_SAMPLES = 60


class ReplicationChecks:
    """Checks of a replication attack: a planted copy must be found; what it generates or gets back must not depend on
    its batch."""

    def __init__(self, plugin: type[ReplicationAttack]) -> None:
        self.plugin = plugin
        self._extracted = cache(self._extract)

    def checks(self) -> Iterator[Check]:
        """In the order in which they are reported."""
        attack = self.plugin()
        yield "a published threshold is a number", lambda: attack.published is None or isfinite(attack.published)
        skipped = attack.skip(self._settings[0])
        if skipped is not None and skipped.flags:  # it names what this machine lacks, such as "lpips-missing"
            yield f"it runs where nothing is lacking ({skipped.reason}; not checked here)", lambda: True
        elif isinstance(attack, RecoveryAttack):
            yield from self._of_recovery()
        else:
            yield from self._of_matching()
            if attack.generates:
                yield from self._of_candidates()

    # Matching ---------------------------------------------------------------------------------------------------------

    def _match(self, queries: Tensor) -> Matches:
        return self.plugin().match(
            ImageView(queries), ImageView(images(_TRAIN, "train")), lambda images: images[:].flatten(1)
        )

    def _of_matching(self) -> Iterator[Check]:
        queries = images(9, "queries")
        planted = torch.cat([queries, images(_TRAIN, "train")[5:6]])
        order = torch.arange(8, -1, -1)
        yield "every query is matched with a training image", lambda: self._shapes(self._match(queries))
        yield "similarities are finite", lambda: bool(np.isfinite(self._match(queries).similarity).all())
        yield "a planted copy is found and is the most similar", lambda: self._found(self._match(planted))
        yield (
            "order does not change them",
            lambda: self._alike(self._match(queries), self._match(queries[order]), order),
        )
        yield "company does not change them", lambda: self._alike(self._match(planted), self._match(queries[:4]))
        yield "groups are one number an image, or none", self._groups

    def _shapes(self, match: Matches) -> bool:
        return len(match.index) == len(match.similarity) == 9 and bool(
            ((match.index >= 0) & (match.index < _TRAIN)).all()
        )

    def _found(self, match: Matches) -> bool:
        return int(match.index[-1]) == 5 and int(np.argmax(match.similarity)) == len(match.similarity) - 1

    def _alike(self, all_of_them: Matches, some: Matches, rows: Tensor | None = None) -> bool:
        chosen = np.arange(len(some.index)) if rows is None else rows.numpy()
        return np.allclose(all_of_them.similarity[chosen], some.similarity, **CLOSE)

    def _groups(self) -> bool:
        group = self.plugin().groups(images(9, "queries"))
        return group is None or (group.shape == (9,) and group.dtype == np.int64)

    # Generating -------------------------------------------------------------------------------------------------------

    @property
    def _settings(self) -> list[AuditSetting]:
        pixels = SHAPE[1] * SHAPE[2]
        return [AuditSetting((), condition, "nothing", Schedule().T, _TRAIN, pixels) for condition in _CONDITIONS]

    @property
    def _condition(self) -> str:
        """The plainest condition of a network against which the attack is run."""
        attack = self.plugin()
        return next(setting.condition for setting in self._settings if attack.skip(setting) is None)

    def _target(self, batch: int) -> AttackTarget:
        release = plain(batch, self._condition)
        return AttackTarget(QueriedRelease(release, partial(release.sample, _SAMPLES)), streams())

    def _extract(self, batch: int = 16) -> Extracted:
        target = self._target(batch)
        return extract_candidates(
            target, self.plugin(), target.release.sample(_SAMPLES), lambda images: images.flatten(1)
        )

    def _of_candidates(self) -> Iterator[Check]:
        yield "a view of its access level suffices for its candidates", lambda: bool(len(self._extracted().images))
        yield "candidates are images in [-1, 1], finite, one a sample", lambda: self._pictures(self._extracted().images)
        yield "they are the same twice", lambda: torch.equal(self._extracted().images, self._extract().images)
        yield (
            "batch size does not change them",
            lambda: torch.allclose(self._extracted().images, self._extract(7).images, **CLOSE),
        )

    def _pictures(self, found: Tensor) -> bool:
        return found.shape[0] == _SAMPLES and bool((found.abs() <= 1).all()) and found.dtype == torch.float32

    # Getting back -----------------------------------------------------------------------------------------------------

    def _recover(self, batch: int = 16, reverse: bool = False) -> np.ndarray:
        attack = self.plugin()
        assert isinstance(attack, RecoveryAttack)
        rows = torch.arange(COUNT).flip(0) if reverse else torch.arange(COUNT)
        labels = rows % 2 if self._condition != "none" else None
        found, self.queries = recover(self._target(batch), attack, Images(images(COUNT, "images")[rows], rows, labels))
        return (found.flip(0) if reverse else found).double().numpy()

    def _of_recovery(self) -> Iterator[Check]:
        first = cache(self._recover)
        yield "a view of its access level suffices, and it judges every image", lambda: bool(len(first()))
        yield "similarities are finite", lambda: bool(np.isfinite(first()).all())
        yield "they are the same twice", lambda: np.array_equal(first(), self._recover())
        yield "batch size does not change them", lambda: np.allclose(first(), self._recover(5), **CLOSE)
        yield "order does not change them", lambda: np.allclose(first(), self._recover(reverse=True), **CLOSE)
        yield "queries are counted", lambda: self.queries > 0

"""Checks of an attribute attack."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Access, AttributeAttack, AttributeTrainingSet, Query
from leakbench.api.answer_cache import QueriedRelease
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.testing.toy_model import CLOSE, COUNT, Check, images, parts_missing, plain, setting_for, streams


class AttributeChecks:
    """Checks of an attribute attack, through a view of its own access level."""

    def __init__(self, plugin: type[AttributeAttack]) -> None:
        self.plugin = plugin
        self._first = cache(self._scores)

    def _scores(self, batch: int = 16, reverse: bool = False) -> np.ndarray:
        attack = self.plugin()
        raw, condition = attack.access is Access.WEIGHTS, setting_for(attack).condition
        release = plain(batch, condition)
        target = AttackTarget(QueriedRelease(release, partial(release.sample, 8)), streams())
        known, asked = (Images(self._images(name), torch.arange(COUNT), None) for name in ("known", "asked"))

        def ask(question: Query) -> Tensor:
            return target.ask(question, attack, raw, known)

        fitted = attack.fit(AttributeTrainingSet(known.images, None, ask, torch.arange(COUNT) % 2, streams()))
        rows = torch.arange(COUNT - 1, -1, -1) if reverse else torch.arange(COUNT)
        found, queries = target.score({"it": AttackRequest(fitted, raw)}, asked.take(rows))  # type: ignore[arg-type]
        self.queries = queries["it"]
        return found["it"][::-1] if reverse else found["it"]

    def _images(self, name: str) -> Tensor:
        """Images, or pairs of them."""
        count = 2 if self.plugin.of == "pairs" else 1
        return torch.cat([images(COUNT, f"{name} {number}") for number in range(count)], dim=1)

    def checks(self) -> Iterator[Check]:
        """In the order in which they are reported."""
        yield "it says of what it is asked: samples, images or pairs", self._says
        lacking = parts_missing(self.plugin()) if self.plugin.access is Access.WEIGHTS else ""
        if lacking:
            yield f"it runs where nothing is lacking ({lacking}; not checked here)", lambda: True
            return
        yield (
            "a view of its access level suffices, without any label; it scores every image and writes to none",
            lambda: bool(len(self._first())),
        )
        yield "scores are finite", lambda: bool(np.isfinite(self._first()).all())
        yield "scores are the same twice", lambda: np.array_equal(self._first(), self._scores())
        yield "batch size does not change them", lambda: np.allclose(self._first(), self._scores(5), **CLOSE)
        yield "order does not change them", lambda: np.allclose(self._first(), self._scores(reverse=True), **CLOSE)
        yield "queries are counted where it asks the denoiser", self._counted

    def _says(self) -> bool:
        return self.plugin.of in ("samples", "images", "pairs")

    def _counted(self) -> bool:
        self._first()
        return self.queries > 0 or self.plugin.access is not Access.DENOISER

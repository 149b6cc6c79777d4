"""Checks of a replication attack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leakbench.api import ReplicationAttack

from .tiny import CLOSE, COUNT, Check, images


class ReplicationChecks:
    """Checks of a replication attack: a planted copy must be found."""

    def __init__(self, plugin: type[ReplicationAttack]) -> None:
        self.plugin = plugin

    def _match(self, queries: Tensor) -> Any:
        return self.plugin().match(queries, images(COUNT, "train"), lambda images: images.flatten(1))

    def checks(self) -> Iterator[Check]:
        queries = images(9, "queries")
        planted = torch.cat([queries, images(COUNT, "train")[5:6]])
        order = torch.arange(8, -1, -1)
        yield "every query is matched with a training image", lambda: self._shapes(self._match(queries))
        yield "similarities are finite", lambda: bool(np.isfinite(self._match(queries).similarity).all())
        yield "a planted copy is found and is the most similar", lambda: self._found(self._match(planted))
        yield (
            "order does not change them",
            lambda: np.allclose(self._match(queries).similarity, self._match(queries[order]).similarity[::-1], **CLOSE),
        )

    def _shapes(self, match: Any) -> bool:
        return len(match.index) == len(match.similarity) == 9 and bool(
            ((match.index >= 0) & (match.index < COUNT)).all()
        )

    def _found(self, match: Any) -> bool:
        return int(match.index[-1]) == 5 and int(np.argmax(match.similarity)) == len(match.similarity) - 1

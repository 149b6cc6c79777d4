"""A module of somebody's own, behind an adapter: called as module(x, t), or module(x, t, label)."""

from __future__ import annotations

from typing import Any, ClassVar

from leakbench.models.pretrained.families.family import Family, Told


class Own(Family):
    """Any module."""

    body: ClassVar[str] = "a module of one's own"

    def ask(self, body: Any, x: Any, time: Any, told: Told) -> Any:
        """module(x, t, label)"""
        return body(x, time, told["label"]) if told else body(x, time)

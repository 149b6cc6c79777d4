"""DiT (Peebles and Xie 2023, 2212.09748): a transformer of classes, and one more class for none."""

from __future__ import annotations

from typing import Any, ClassVar

from leakbench.models.pretrained.bad_settings import read_whole
from leakbench.models.pretrained.families.family import Family, Settings, Told


class DiT(Family):
    """diffusers' DiTTransformer2DModel."""

    body: ClassVar[str] = "DiTTransformer2DModel"
    reads: ClassVar[tuple[str, ...]] = (*Family.reads, "num_embeds_ada_norm")
    knows_none: ClassVar[bool] = True

    def labels(self, config: Settings, where: str) -> int:
        """Its num_embeds_ada_norm."""
        return read_whole(config, "num_embeds_ada_norm", where) if config.get("num_embeds_ada_norm") else 0

    def ask(self, body: Any, x: Any, time: Any, told: Told) -> Any:
        """dit(x, t, class)"""
        return body(x, time, class_labels=told["label"]) if told else body(x, time)

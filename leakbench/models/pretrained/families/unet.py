"""UNet2DModel, unconditional or of classes."""

from __future__ import annotations

from typing import Any, ClassVar

from leakbench.models.pretrained.bad_settings import read_whole
from leakbench.models.pretrained.families.family import Family, Settings, Told
from leakbench.runtime.errors import UsageError

_UNKNOWN = (  # settings of a UNet that ask for more than is known here
    "addition_embed_type",
    "class_embed_type",
    "encoder_hid_dim_type",
    "dual_cross_attention",
)


class UNet(Family):
    """diffusers' UNet2DModel."""

    body: ClassVar[str] = "UNet2DModel"
    unknown: ClassVar[tuple[str, ...]] = (*_UNKNOWN, "time_cond_proj_dim")

    def check(self, config: Settings, where: str) -> None:
        """Refuse what no UNet here is told."""
        for key in self.unknown:
            if config.get(key):
                raise UsageError(f"{where}: {self.body} with {key} = {config[key]!r} is not known here")

    def labels(self, config: Settings, where: str) -> int:
        """Its num_class_embeds."""
        return read_whole(config, "num_class_embeds", where) if config.get("num_class_embeds") else 0

    def ask(self, body: Any, x: Any, time: Any, told: Told) -> Any:
        """unet(x, t, class_labels)"""
        return body(x, time, class_labels=told["label"]) if told else body(x, time)

"""Stable Diffusion 1 and 2 (Rombach et al. 2022, 2112.10752): a UNet that is told captions by CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

from leakbench.models.pretrained.families.family import Settings, Told
from leakbench.models.pretrained.families.unet import UNet


class StableDiffusion(UNet):
    """diffusers' UNet2DConditionModel with one text encoder. An LCM student (Luo et al. 2023, 2310.04378) is told its
    guidance as well, as its pipeline does by default (w = 8.5, embedded as w - 1)."""

    body: ClassVar[str] = "UNet2DConditionModel"
    pipeline: ClassVar[str] = "StableDiffusionPipeline"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)
    unknown: ClassVar[tuple[str, ...]] = UNet.unknown[:-1]

    def labels(self, config: Settings, where: str) -> int:
        """None: its conditions are captions."""
        return 0

    def assemble(self, parts: Mapping[str, Any], index: Settings, config: Settings) -> Any:
        """Tokenizer and encoder are asked as they are."""
        return SimpleNamespace(**parts)

    def tell(self, pipeline: Any, captions: list[str], device: Any) -> dict[str, Any]:
        """CLIP's last hidden states."""
        from leakbench.models.pretrained.text_conditioning import embed_captions  # here, for it imports torch

        return {"states": embed_captions(pipeline.tokenizer, pipeline.text_encoder, captions, device)}

    def ask(self, body: Any, x: Any, time: Any, told: Told) -> Any:
        """unet(x, t, states)"""
        return body(x, time, encoder_hidden_states=told["states"].to(x.dtype), timestep_cond=guidance_of(body, x))


def guidance_of(body: Any, x: Any, guidance: float = 8.5) -> Any:
    """Sines and cosines of 1000 (w - 1), (N, time_cond_proj_dim), that an LCM is told; None of all others."""
    import torch

    size = body.config.get("time_cond_proj_dim")
    if size is None:
        return None
    rates = torch.exp(-torch.arange(size // 2, dtype=torch.float32) * (torch.log(torch.tensor(1e4)) / (size // 2 - 1)))
    phase = 1000 * (guidance - 1) * rates.to(x.device)
    waves = torch.nn.functional.pad(torch.cat([phase.sin(), phase.cos()]), (0, size % 2))
    return waves.to(x.dtype).expand(len(x), size)

"""Stable Diffusion XL (Podell et al. 2023, 2307.01952): two text encoders, and the size that an image had.

Choice of ours: an image is called as large as the model's own, and not cropped, as the pipeline does by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from leakbench.models.pretrained.families.family import Family, Settings, Told, with_none
from leakbench.models.pretrained.families.stable_diffusion import StableDiffusion, guidance_of
from leakbench.runtime.errors import UsageError


class SDXL(StableDiffusion):
    """diffusers' UNet2DConditionModel whose addition_embed_type is "text_time". Without condition it is told what its
    pipeline tells it: zeros, or the empty caption where force_zeros_for_empty_prompt is false."""

    pipeline: ClassVar[str] = "StableDiffusionXLPipeline"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")
    unknown: ClassVar[tuple[str, ...]] = StableDiffusion.unknown[1:]

    def check(self, config: Settings, where: str) -> None:
        """Refuse further embeddings than of text, and of size and crop."""
        super().check(config, where)
        if config.get("addition_embed_type") != "text_time":
            raise UsageError(
                f"{where}: {self.body} with addition_embed_type = {config['addition_embed_type']!r} is not known here"
            )

    def assemble(self, parts: Mapping[str, Any], index: Settings, config: Settings) -> Any:
        """Its own pipeline."""
        return Family.assemble(self, parts, {**index, "add_watermarker": False}, config)

    def tell(self, pipeline: Any, captions: list[str], device: Any) -> dict[str, Any]:
        """The encoders' last hidden states but one, side by side, and the second's projection."""
        states, none, pooled, pooled_none = pipeline.encode_prompt(captions, device=device)
        return {"states": with_none(states, none), "pooled": with_none(pooled, pooled_none)}

    def ask(self, body: Any, x: Any, time: Any, told: Told) -> Any:
        """unet(x, t, states, pooled and sizes); an image has 8 pixels where x has one."""
        height, width = 8 * x.shape[2], 8 * x.shape[3]
        sizes = x.new_tensor([height, width, 0, 0, height, width]).expand(len(x), 6)
        more = {"text_embeds": told["pooled"], "time_ids": sizes}
        waves = guidance_of(body, x)
        return body(x, time, encoder_hidden_states=told["states"], added_cond_kwargs=more, timestep_cond=waves)

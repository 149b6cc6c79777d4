"""Sana (Xie et al. 2024, 2410.10629): a flow over latents of a deep autoencoder, told captions by Gemma."""

from __future__ import annotations

from typing import Any, ClassVar

from leakbench.models.pretrained.families.family import Family, Told


class Sana(Family):
    """diffusers' SanaTransformer2DModel. Choice of ours: captions are told as they are, without the instruction that
    its pipeline can put before them to have Gemma rewrite short ones."""

    body: ClassVar[str] = "SanaTransformer2DModel"
    pipeline: ClassVar[str] = "SanaPipeline"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)

    def ask(self, body: Any, x: Any, time: Any, told: Told) -> Any:
        """transformer(x_s, 1000 s timestep_scale, states, mask)"""
        return body(
            x,
            timestep=time * body.config.timestep_scale,
            encoder_hidden_states=told["states"],
            encoder_attention_mask=told["mask"],
            return_dict=False,
        )

"""Lumina-Image 2.0 (Qin et al. 2025, 2503.21758): a flow that runs the other way, told captions by Gemma.

Its time is 1 - s, and it predicts the image less the noise. Its pipeline puts a system prompt before a caption, and
none before the empty one.
"""

from __future__ import annotations

from typing import Any, ClassVar

from leakbench.models.pretrained.families.family import Family, Told


class Lumina2(Family):
    """diffusers' Lumina2Transformer2DModel."""

    body: ClassVar[str] = "Lumina2Transformer2DModel"
    pipeline: ClassVar[str] = "Lumina2Pipeline"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)
    patch: ClassVar[int] = 2

    def ask(self, body: Any, x: Any, time: Any, told: Told) -> Any:
        """-transformer(x_s, 1 - s, states, mask)"""
        states, mask = told["states"], told["mask"]
        return -body(
            hidden_states=x,
            timestep=1 - time / 1000,
            encoder_hidden_states=states,
            encoder_attention_mask=mask,
            return_dict=False,
        )[0]

"""PixArt-alpha and -Sigma (Chen et al. 2023, 2310.00426; 2024, 2403.04692): a transformer told captions by T5."""

from __future__ import annotations

from typing import Any, ClassVar

from leakbench.models.pretrained.families.family import Family, Told


class PixArt(Family):
    """diffusers' PixArtTransformer2DModel: alpha's, whose captions have 120 tokens, or Sigma's of 300, whose settings
    say that it is told no sizes."""

    body: ClassVar[str] = "PixArtTransformer2DModel"
    pipeline: ClassVar[str] = "PixArtAlphaPipeline"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)
    patch: ClassVar[int] = 2

    def ask(self, body: Any, x: Any, time: Any, told: Told) -> Any:
        """transformer(x, t, states, mask, size)"""
        more: dict[str, Any] = {"resolution": None, "aspect_ratio": None}
        if body.use_additional_conditions:  # by default of 1,024 pixels, which it knows in several shapes
            height, width = 8 * x.shape[2], 8 * x.shape[3]
            more["resolution"] = x.new_tensor([height, width]).expand(len(x), 2)
            more["aspect_ratio"] = x.new_tensor([height / width]).expand(len(x), 1)
        return body(
            x,
            timestep=time,
            encoder_hidden_states=told["states"],
            encoder_attention_mask=told["mask"],
            added_cond_kwargs=more,
            return_dict=False,
        )


class PixArtSigma(PixArt):
    """PixArt-Sigma: its settings say use_additional_conditions = false."""

    pipeline: ClassVar[str] = "PixArtSigmaPipeline"

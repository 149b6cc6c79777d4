"""FLUX.2-klein (Black Forest Labs 2026): a flow over patches of 2x2 latents, which its autoencoder normalises, told
captions by Qwen3.

What it denoises are patches: 128 channels at a sixteenth of the image's side. FLUX.2-dev is the same network, told
captions by Mistral 3, whose encoder is not known here.
"""

from __future__ import annotations

from typing import Any, ClassVar

from leakbench.models.pretrained.bad_settings import read_whole
from leakbench.models.pretrained.families.family import Family, Settings, Told
from leakbench.models.pretrained.families.flux import GUIDANCE


class Flux2(Family):
    """diffusers' Flux2Transformer2DModel. Its settings do not say a size: it is its pipeline's default."""

    body: ClassVar[str] = "Flux2Transformer2DModel"
    pipeline: ClassVar[str] = "Flux2KleinPipeline"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)
    reads: ClassVar[tuple[str, ...]] = ("in_channels",)

    def channels(self, config: Settings, where: str) -> int:
        """Of patches."""
        return read_whole(config, "in_channels", where)

    def sides(self, config: Settings, where: str) -> tuple[int, int]:
        """The 64 x 64 patches of 1,024 pixels."""
        return 64, 64

    def tell(self, pipeline: Any, captions: list[str], device: Any) -> dict[str, Any]:
        """The encoder's states after three of its layers, side by side."""
        states, _ = pipeline.encode_prompt([*captions, ""], device=device)
        return {"states": states}

    def ask(self, body: Any, x: Any, time: Any, told: Told) -> Any:
        """transformer(patches, s, states, places): the network is told s, not 1000 s."""
        count, _, height, width = x.shape
        places = x.new_zeros(height, width, 4)
        places[..., 1] += places.new_tensor(range(height))[:, None]
        places[..., 2] += places.new_tensor(range(width))
        words = x.new_zeros(told["states"].shape[1], 4)
        words[:, 3] = words.new_tensor(range(len(words)))
        answer = body(
            hidden_states=x.flatten(2).transpose(1, 2),
            timestep=time / 1000,
            guidance=x.new_full((count,), GUIDANCE) if body.config.guidance_embeds else None,
            encoder_hidden_states=told["states"],
            txt_ids=words.expand(count, -1, -1),
            img_ids=places.flatten(0, 1).expand(count, -1, -1),
            return_dict=False,
        )[0]
        return answer.transpose(1, 2).reshape(x.shape)

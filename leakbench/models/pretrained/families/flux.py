"""FLUX.1 (Black Forest Labs 2024): a flow over patches of 2x2 latents, told captions by CLIP and T5.

Choice of ours: a guidance-distilled network (FLUX.1-dev) is told its pipeline's default guidance, 3.5.
"""

from __future__ import annotations

from typing import Any, ClassVar

from leakbench.models.pretrained.bad_settings import read_whole
from leakbench.models.pretrained.families.family import Family, Settings, Told
from leakbench.runtime.errors import UsageError

GUIDANCE = 3.5


class Flux(Family):
    """diffusers' FluxTransformer2DModel. Its settings do not say a size: it is its pipeline's default."""

    body: ClassVar[str] = "FluxTransformer2DModel"
    pipeline: ClassVar[str] = "FluxPipeline"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")
    reads: ClassVar[tuple[str, ...]] = ("in_channels",)
    patch: ClassVar[int] = 2

    def channels(self, config: Settings, where: str) -> int:
        """Of latents: a patch has four of them."""
        channels = read_whole(config, "in_channels", where)
        if channels % 4 or config.get("out_channels") not in (None, channels):
            raise UsageError(f"{where}: {self.body} of {channels} channels in is not known: they are patches of 2x2")
        return channels // 4

    def sides(self, config: Settings, where: str) -> tuple[int, int]:
        """The 128 x 128 latents of 1,024 pixels."""
        return 128, 128

    def tell(self, pipeline: Any, captions: list[str], device: Any) -> dict[str, Any]:
        """T5's states, and CLIP's pooled one."""
        states, pooled, _ = pipeline.encode_prompt([*captions, ""], None, device=device)
        return {"states": states, "pooled": pooled}

    def ask(self, body: Any, x: Any, time: Any, told: Told) -> Any:
        """transformer(patches, s, states, pooled, places): the network is told s, not 1000 s."""
        height, width = x.shape[2] // 2, x.shape[3] // 2
        places = x.new_zeros(height, width, 3)
        places[..., 1] += places.new_tensor(range(height))[:, None]
        places[..., 2] += places.new_tensor(range(width))
        guidance = x.new_full((len(x),), GUIDANCE) if body.config.guidance_embeds else None
        answer = body(
            pack(x),
            timestep=time / 1000,
            guidance=guidance,
            pooled_projections=told["pooled"],
            encoder_hidden_states=told["states"],
            txt_ids=x.new_zeros(told["states"].shape[1], 3),
            img_ids=places.flatten(0, 1),
            return_dict=False,
        )[0]
        return unpack(answer, x.shape)


def pack(x: Any) -> Any:
    """(N, C, H, W) as (N, H/2 W/2, 4 C): patches row by row, of each its channels by their places."""
    return x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def unpack(patches: Any, shape: Any) -> Any:
    """The inverse of `pack`, to `shape` (N, C, H, W)."""
    count, channels, height, width = shape
    kept = patches.view(count, height // 2, width // 2, channels, 2, 2)
    return kept.permute(0, 3, 1, 4, 2, 5).reshape(shape)

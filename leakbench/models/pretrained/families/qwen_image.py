"""Qwen-Image (Wu et al. 2025, 2508.02324): a flow over patches of 2x2 latents, told captions by Qwen2.5-VL."""

from __future__ import annotations

from typing import Any, ClassVar

from leakbench.models.pretrained.families.family import Settings, Told
from leakbench.models.pretrained.families.flux import Flux, pack, unpack
from leakbench.runtime.errors import UsageError


class QwenImage(Flux):
    """diffusers' QwenImageTransformer2DModel. Guidance is w of eps(none) + w (eps - eps(none)), as everywhere here: its
    pipeline gives what comes of that the length of the conditional prediction."""

    body: ClassVar[str] = "QwenImageTransformer2DModel"
    pipeline: ClassVar[str] = "QwenImagePipeline"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)
    reads: ClassVar[tuple[str, ...]] = ("in_channels", "out_channels")

    def check(self, config: Settings, where: str) -> None:
        """Refuse the networks that edit images or are told a guidance."""
        for key in ("guidance_embeds", "zero_cond_t", "use_additional_t_cond", "use_layer3d_rope"):
            if config.get(key):
                raise UsageError(f"{where}: {self.body} with {key} = {config[key]!r} is not known here")

    def channels(self, config: Settings, where: str) -> int:
        """Of latents: a patch has four of them, and it answers by latents."""
        given = {**config, "out_channels": None}
        channels = super().channels(given, where)
        if config.get("out_channels") not in (None, channels):
            raise UsageError(f"{where}: {self.body} of {channels} channels in and {config['out_channels']} out")
        return channels

    def tell(self, pipeline: Any, captions: list[str], device: Any) -> dict[str, Any]:
        """The encoder's last states after the instruction before every caption, and which of them are words."""
        states, mask = pipeline.encode_prompt([*captions, ""], device=device)
        return {"states": states, "mask": states.new_ones(states.shape[:2]).bool() if mask is None else mask.bool()}

    def ask(self, body: Any, x: Any, time: Any, told: Told) -> Any:
        """transformer(patches, s, states, mask, places): the network is told s, not 1000 s."""
        answer = body(
            hidden_states=pack(x),
            timestep=time / 1000,
            encoder_hidden_states=told["states"],
            encoder_hidden_states_mask=told["mask"],
            img_shapes=[[(1, x.shape[2] // 2, x.shape[3] // 2)]] * len(x),
            return_dict=False,
        )[0]
        return unpack(answer, x.shape)

"""Stable Diffusion 3 and 3.5 (Esser et al. 2024, 2403.03206): a flow that is told captions by two CLIPs and a T5."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

from leakbench.models.pretrained.families.family import Family, Settings, Told, with_none


class StableDiffusion3(Family):
    """diffusers' SD3Transformer2DModel. T5 may be left out: zeros take the place of its states, as in the pipeline."""

    body: ClassVar[str] = "SD3Transformer2DModel"
    pipeline: ClassVar[str] = "StableDiffusion3Pipeline"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder", "text_encoder_2")
    patch: ClassVar[int] = 2

    def assemble(self, parts: Mapping[str, Any], index: Settings, config: Settings) -> Any:
        """Its pipeline; where T5 is left out it asks the network's settings how wide the zeros are."""
        pipeline = super().assemble(parts, index, config)
        pipeline.transformer = SimpleNamespace(config=SimpleNamespace(**config))
        return pipeline

    def tell(self, pipeline: Any, captions: list[str], device: Any) -> dict[str, Any]:
        """States of the CLIPs, side by side, followed by T5's; and the CLIPs' projections."""
        states, none, pooled, pooled_none = pipeline.encode_prompt(captions, None, None, device=device)
        return {"states": with_none(states, none), "pooled": with_none(pooled, pooled_none)}

    def ask(self, body: Any, x: Any, time: Any, told: Told) -> Any:
        """transformer(x_s, 1000 s, states, pooled)"""
        states, pooled = told["states"], told["pooled"]
        return body(x, timestep=time, encoder_hidden_states=states, pooled_projections=pooled, return_dict=False)

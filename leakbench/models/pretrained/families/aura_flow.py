"""AuraFlow (Fal 2024): a flow that is told captions by UMT5."""

from __future__ import annotations

from typing import Any, ClassVar

from leakbench.models.pretrained.families.family import Family, Told, with_none


class AuraFlow(Family):
    """diffusers' AuraFlowTransformer2DModel."""

    body: ClassVar[str] = "AuraFlowTransformer2DModel"
    pipeline: ClassVar[str] = "AuraFlowPipeline"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)
    patch: ClassVar[int] = 2

    def tell(self, pipeline: Any, captions: list[str], device: Any) -> dict[str, Any]:
        """The encoder's states, zero where there is no word."""
        states, _, none, _ = pipeline.encode_prompt(captions, device=device)
        return {"states": with_none(states, none)}

    def ask(self, body: Any, x: Any, time: Any, told: Told) -> Any:
        """transformer(x_s, states, s): the network is told s, not 1000 s."""
        return body(x, encoder_hidden_states=told["states"], timestep=time / 1000, return_dict=False)

"""Z-Image (Alibaba 2025, 2511.22699): a flow that runs the other way, told captions by Qwen3.

Its time is 1 - s, and it predicts the image less the noise. Its pipeline's guidance scale is our w less 1.
"""

from __future__ import annotations

from typing import Any, ClassVar

from leakbench.models.pretrained.families.family import Family, Settings, Told
from leakbench.runtime.errors import UsageError


class ZImage(Family):
    """diffusers' ZImageTransformer2DModel, of patches of 2x2. Its settings do not say a size: it is its pipeline's
    default of 1,024 pixels."""

    body: ClassVar[str] = "ZImageTransformer2DModel"
    pipeline: ClassVar[str] = "ZImagePipeline"
    encoders: ClassVar[tuple[str, ...]] = ("text_encoder",)
    reads: ClassVar[tuple[str, ...]] = ("in_channels",)
    patch: ClassVar[int] = 2

    def check(self, config: Settings, where: str) -> None:
        """Refuse the network that is told images as well."""
        if config.get("siglip_feat_dim"):
            raise UsageError(f"{where}: {self.body} with siglip_feat_dim, which is told images, is not known here")

    def sides(self, config: Settings, where: str) -> tuple[int, int]:
        """The 128 x 128 latents of 1,024 pixels."""
        return 128, 128

    def tell(self, pipeline: Any, captions: list[str], device: Any) -> dict[str, Any]:
        """The encoder's states before its last layer, and which of them are words: captions keep their lengths."""
        from torch.nn.utils.rnn import pad_sequence

        states, _ = pipeline.encode_prompt([*captions, ""], device=device, do_classifier_free_guidance=False)
        words = [rows.new_ones(len(rows)).bool() for rows in states]
        return {"states": pad_sequence(states, batch_first=True), "mask": pad_sequence(words, batch_first=True)}

    def ask(self, body: Any, x: Any, time: Any, told: Told) -> Any:
        """-transformer(x_s, 1 - s, states): images and captions are lists."""
        from torch import stack

        states = [rows[mask] for rows, mask in zip(told["states"], told["mask"], strict=True)]
        answers = body(list(x.unsqueeze(2)), 1 - time / 1000, states, return_dict=False)[0]
        return -stack(list(answers)).squeeze(2)

"""Parameters of a UNet2DModel by its settings, without building it and without torch: names and shapes, as in its
state_dict. Tests compare them with diffusers' own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Shape = tuple[int, ...]
_DOWN, _UP = ("DownBlock2D", "AttnDownBlock2D"), ("UpBlock2D", "AttnUpBlock2D")
_USUAL: dict[str, tuple[Any, ...]] = {  # values of settings that the rule below holds for
    "time_embedding_type": ("positional",),
    "class_embed_type": (None,),
    "mid_block_type": ("UNetMidBlock2D", None),
    "downsample_type": ("conv", "resnet"),
    "upsample_type": ("conv", "resnet"),
    "resnet_time_scale_shift": ("default", "scale_shift"),
}


def list_unet_parameters(config: Mapping[str, Any]) -> dict[str, Shape] | None:
    """Shapes by name; None for settings that ask for more than plain and attending blocks, or that leave something to
    defaults."""
    needed = ("block_out_channels", "layers_per_block", "down_block_types", "up_block_types", "in_channels")
    if any(config.get(key) is None for key in (*needed, "out_channels")) or "attention_head_dim" not in config:
        return None
    if any(key not in config or config[key] not in known for key, known in _USUAL.items()):
        return None
    if set(config["down_block_types"]) - set(_DOWN) or set(config["up_block_types"]) - set(_UP):
        return None
    head = config["attention_head_dim"]
    if head and any(width % head for width in config["block_out_channels"]):
        return None
    return dict(_Rule(config).list())


class _Rule:
    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config, self.widths = config, list(config["block_out_channels"])
        self.time = config.get("time_embedding_dim") or 4 * self.widths[0]
        self.told = 2 if config["resnet_time_scale_shift"] == "scale_shift" else 1

    def list(self) -> Iterator[tuple[str, Shape]]:
        first, last = self.widths[0], self.widths[-1]
        yield from _both("conv_in", (first, self.config["in_channels"], 3, 3))
        yield from _both("time_embedding.linear_1", (self.time, first))
        yield from _both("time_embedding.linear_2", (self.time, self.time))
        if self.config.get("num_class_embeds"):
            yield "class_embedding.weight", (self.config["num_class_embeds"], self.time)
        yield from self._down()
        if self.config["mid_block_type"] is not None:
            yield from self._resnet("mid_block.resnets.0", last, last)
            if self.config.get("add_attention", True):
                normed = self.told == 1 or self.config.get("attn_norm_num_groups") is not None
                yield from _attention("mid_block.attentions.0", last, normed)
            yield from self._resnet("mid_block.resnets.1", last, last)
        yield from self._up()
        yield from _both("conv_norm_out", (first,))
        yield from _both("conv_out", (self.config["out_channels"], first, 3, 3))

    def _down(self) -> Iterator[tuple[str, Shape]]:
        before = self.widths[0]
        for i, (kind, width) in enumerate(zip(self.config["down_block_types"], self.widths, strict=True)):
            for j in range(self.config["layers_per_block"]):
                yield from self._resnet(f"down_blocks.{i}.resnets.{j}", width if j else before, width)
                if kind.startswith("Attn"):
                    yield from _attention(f"down_blocks.{i}.attentions.{j}", width)
            if i < len(self.widths) - 1:
                by_resnet = self.config["downsample_type"] == "resnet" and kind.startswith("Attn")
                yield from self._resample(f"down_blocks.{i}.downsamplers.0", width, by_resnet)
            before = width

    def _up(self) -> Iterator[tuple[str, Shape]]:
        widths, layers = self.widths[::-1], self.config["layers_per_block"] + 1
        before = widths[0]
        for i, (kind, width) in enumerate(zip(self.config["up_block_types"], widths, strict=True)):
            below = widths[min(i + 1, len(widths) - 1)]
            for j in range(layers):
                skipped = below if j == layers - 1 else width
                yield from self._resnet(f"up_blocks.{i}.resnets.{j}", (width if j else before) + skipped, width)
                if kind.startswith("Attn"):
                    yield from _attention(f"up_blocks.{i}.attentions.{j}", width)
            if i < len(widths) - 1:
                by_resnet = self.config["upsample_type"] == "resnet" and kind.startswith("Attn")
                yield from self._resample(f"up_blocks.{i}.upsamplers.0", width, by_resnet)
            before = width

    def _resnet(self, name: str, given: int, width: int) -> Iterator[tuple[str, Shape]]:
        yield from _both(f"{name}.norm1", (given,))
        yield from _both(f"{name}.conv1", (width, given, 3, 3))
        yield from _both(f"{name}.time_emb_proj", (self.told * width, self.time))
        yield from _both(f"{name}.norm2", (width,))
        yield from _both(f"{name}.conv2", (width, width, 3, 3))
        if given != width:
            yield from _both(f"{name}.conv_shortcut", (width, given, 1, 1))

    def _resample(self, name: str, width: int, by_resnet: bool) -> Iterator[tuple[str, Shape]]:
        yield from self._resnet(name, width, width) if by_resnet else _both(f"{name}.conv", (width, width, 3, 3))


def _attention(name: str, width: int, normed: bool = True) -> Iterator[tuple[str, Shape]]:
    if normed:
        yield from _both(f"{name}.group_norm", (width,))
    for one in ("to_q", "to_k", "to_v", "to_out.0"):
        yield from _both(f"{name}.{one}", (width, width))


def _both(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """A weight of this shape and its bias."""
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]

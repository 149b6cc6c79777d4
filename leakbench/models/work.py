"""Work of one call of a network for one image, counted from the shapes of its parameters: no weights, no torch.

A matrix (O, I) at n positions takes 2 O I n operations, a convolution (O, I, h, w) 2 O I h w for each pixel of its
output, attention 4 O n m for n queries and m keys: what torch's FlopCounterMode counts. Norms and activations are
not counted; `outputs` stands for them: the numbers that matrices and convolutions write.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leakbench.models.network_spec import WAVES, NetworkSpec, unet_settings

Shapes = Mapping[str, tuple[int, ...]]  # of parameters, by their names in diffusers
_TOKENS = 77  # of a caption, in CLIP
_ONCE = ("time_embed", "class_embedding", "add_embedding", ".time_emb_proj", ".norm1.", ".emb.", "proj_out_1")


@dataclass(frozen=True)
class Work:
    """flops: operations of matrices and convolutions. outputs: numbers that they write."""

    flops: float = 0.0
    outputs: float = 0.0

    @property
    def effective(self) -> float:
        """Operations that take as long as all of it: a number that is written, with its norms and activations, as long
        as 450 on the CPUs that we timed, for networks of 8 to 128 channels."""
        return self.flops + 450.0 * self.outputs

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.outputs + other.outputs)


def count_spec_work(spec: NetworkSpec) -> Work:
    """Work of a network of our own, for an image of its shape."""
    if spec.kind == "mlp":
        pixels, width = math.prod(spec.shape), spec.width
        entry = (spec.shape[0] + spec.extra_channels) * math.prod(spec.shape[1:])
        layers = [(entry, width), (WAVES, width), (width, width), *[(width, width)] * (2 * spec.blocks)]
        layers.append((width, pixels if spec.outputs == "image" else 1))
        return Work(2.0 * sum(a * b for a, b in layers), float(sum(b for _, b in layers)))
    settings = unet_settings(spec)
    step = 2 ** (len(settings["block_out_channels"]) - 1)
    height, width = (side + -side % step for side in spec.shape[1:])
    return count_unet_work(list_unet_shapes(settings), len(settings["block_out_channels"]), (height, width))


def count_spec_weights(spec: NetworkSpec) -> int:
    """Parameters of a network of our own, but for norms and biases."""
    if spec.kind == "mlp":
        return int(count_spec_work(spec).flops / 2)
    return sum(math.prod(shape) for shape in list_unet_shapes(unet_settings(spec)).values())


def count_unet_work(shapes: Shapes, levels: int, side: tuple[int, int]) -> Work:
    """Work of a UNet2DModel or UNet2DConditionModel of so many levels, for an image of this side."""

    def pixels(level: int) -> int:
        return math.prod(math.ceil(one / 2**level) for one in side)

    total = Work()
    for name, shape in shapes.items():
        level = _level(name, levels)
        total += _count(name, shape, 1 if level is None else pixels(level))
    return total


def count_dit_work(shapes: Shapes, patches: int) -> Work:
    """Work of a DiTTransformer2DModel that cuts an image into so many patches."""
    found = [_count(name, shape, 1 if _is_once(name) else patches) for name, shape in shapes.items()]
    return sum(found, Work())


def _count(name: str, shape: tuple[int, ...], positions: int) -> Work:
    """Work of one parameter at so many positions."""
    if not name.endswith(".weight") or len(shape) not in (2, 4) or "embedder.embedding_table" in name:
        return Work()
    crossed = ".attn2.to_k" in name or ".attn2.to_v" in name
    positions = _TOKENS if crossed else positions
    found = Work(2.0 * math.prod(shape) * positions, float(shape[0] * positions))
    if name.endswith(".to_q.weight"):  # queries times keys, and weights times values
        keys = _TOKENS if ".attn2." in name else positions
        found += Work(4.0 * shape[0] * positions * keys, float(positions * keys))
    return found


def _is_once(name: str) -> bool:
    """True for what is asked about the timestep or the label alone, not about pixels."""
    return any(word in name for word in _ONCE)


def _level(name: str, levels: int) -> int | None:
    """How often the image is halved where a parameter works; None where it works on no pixels."""
    if any(word in name for word in ("time_embed", "class_embedding", "add_embedding", ".time_emb_proj")):
        return None
    if found := re.match(r"down_blocks\.(\d+)\.", name):
        return int(found[1]) + (".downsamplers." in name)
    if found := re.match(r"up_blocks\.(\d+)\.", name):
        return levels - 1 - int(found[1]) - (".upsamplers." in name)
    return levels - 1 if name.startswith("mid_block.") else 0


def list_unet_shapes(settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of a UNet2DModel of these settings, but for norms and biases; blocks are Down and AttnDown,
    Up and AttnUp."""
    widths, layers = settings["block_out_channels"], settings["layers_per_block"]
    found: dict[str, tuple[int, ...]] = {}

    def matrix(name: str, *shape: int) -> None:
        found[f"{name}.weight"] = shape

    def resnet(name: str, into: int, out: int) -> None:
        matrix(f"{name}.conv1", out, into, 3, 3)
        matrix(f"{name}.time_emb_proj", out, 4 * widths[0])
        matrix(f"{name}.conv2", out, out, 3, 3)
        if into != out:
            matrix(f"{name}.conv_shortcut", out, into, 1, 1)

    def attention(name: str, width: int) -> None:
        for part in ("to_q", "to_k", "to_v", "to_out.0"):
            matrix(f"{name}.{part}", width, width)

    matrix("conv_in", widths[0], settings["in_channels"], 3, 3)
    matrix("time_embedding.linear_1", 4 * widths[0], widths[0])
    matrix("time_embedding.linear_2", 4 * widths[0], 4 * widths[0])
    into = widths[0]
    for level, (width, kind) in enumerate(zip(widths, settings["down_block_types"], strict=True)):
        for layer in range(layers):
            resnet(f"down_blocks.{level}.resnets.{layer}", into, width)
            into = width
            if kind.startswith("Attn"):
                attention(f"down_blocks.{level}.attentions.{layer}", width)
        if level < len(widths) - 1:
            matrix(f"down_blocks.{level}.downsamplers.0.conv", width, width, 3, 3)
    for layer in range(2):
        resnet(f"mid_block.resnets.{layer}", into, into)
    if settings.get("add_attention", True):
        attention("mid_block.attentions.0", into)
    upwards = [*reversed(widths)]
    for level, (width, kind) in enumerate(zip(upwards, settings["up_block_types"], strict=True)):
        below = upwards[min(level + 1, len(widths) - 1)]
        for layer in range(layers + 1):
            skipped = below if layer == layers else width
            resnet(f"up_blocks.{level}.resnets.{layer}", into + skipped, width)
            into = width
            if kind.startswith("Attn"):
                attention(f"up_blocks.{level}.attentions.{layer}", width)
        if level < len(widths) - 1:
            matrix(f"up_blocks.{level}.upsamplers.0.conv", width, width, 3, 3)
    matrix("conv_out", settings["out_channels"], widths[0], 3, 3)
    return found

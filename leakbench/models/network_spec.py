"""Specification of a denoiser, and the settings of the UNet that follow from it. Neither imports torch."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

WAVES = 64  # sines and cosines that tell the MLP its timestep


class NetworkSpec(BaseModel):
    """Specification that a network is built from. Saved as the JSON beside its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mlp", "unet"]
    shape: tuple[int, int, int]  # channels, height, width
    width: int = Field(256, ge=1)
    blocks: int = Field(4, ge=1)
    conditions: int = Field(0, ge=0)  # number of labels; 0: unconditional
    outputs: Literal["image", "logit"] = "image"
    dropout: float = Field(0.0, ge=0, lt=1)
    extra_channels: int = Field(0, ge=0)  # of the input, beyond the image's: a mask, for one
    levels: tuple[int, ...] | None = None  # of the UNet: channels of each, in widths; None: as the image size asks
    attention: int = Field(16, ge=1)  # of the UNet: the side in pixels at which it attends


def default_spec(shape: tuple[int, int, int], conditions: int = 0) -> NetworkSpec:
    """The network for images of a shape: the MLP up to 8x8, the UNet above."""
    if max(shape[1:]) <= 8:
        return NetworkSpec(kind="mlp", shape=shape, conditions=conditions)
    return NetworkSpec(kind="unet", shape=shape, width=32, blocks=2, conditions=conditions)


def unet_settings(spec: NetworkSpec) -> dict[str, Any]:
    """Settings of diffusers' UNet2DModel for a spec of kind "unet"; see leakbench.models.networks.UNet."""
    channels, height, width = spec.shape
    levels = spec.levels or _levels(min(height, width))
    attends = _attending(spec, levels)
    return {
        "sample_size": (height, width),
        "in_channels": channels + spec.extra_channels,
        "out_channels": channels,
        "layers_per_block": spec.blocks,
        "block_out_channels": tuple(spec.width * level for level in levels),
        "down_block_types": tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attends),
        "up_block_types": tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)),
        "norm_num_groups": math.gcd(32, spec.width),
        "num_class_embeds": spec.conditions or None,
        "dropout": spec.dropout,
        **({"attention_head_dim": None} if spec.levels else {}),
    }


def _levels(side: int) -> tuple[int, ...]:
    """1, 2 and 2 widths, as many as leave at least four pixels."""
    return tuple(min(2, 1 + level) for level in range(min(3, int(math.log2(side / 4)) + 1)))


def _attending(spec: NetworkSpec, levels: tuple[int, ...]) -> list[bool]:
    """Attention at each level, true or false. A side that is padded counts as what it is padded to."""
    side = min(spec.shape[1:])
    if spec.levels is None:
        return [side >> level <= spec.attention for level in range(len(levels))]
    side += -side % 2 ** (len(levels) - 1)
    return [side >> level == spec.attention for level in range(len(levels))]

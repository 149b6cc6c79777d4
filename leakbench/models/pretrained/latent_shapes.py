"""Shapes of the latents that an autoencoder makes of images, by its settings. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Latents:
    """channels: of what the network denoises. factor: pixels of a side for one latent. images: channels of an image."""

    channels: Any
    factor: int
    images: int


def latents_of(kind: str, config: Mapping[str, Any]) -> Latents:
    """Latents of an autoencoder of this class and settings. Most halve a side once a level but the last; that of
    Qwen-Image says where it halves time, once a level as well, and that of FLUX.2 makes patches of 2x2."""
    if kind == "AutoencoderKLQwenImage":
        return Latents(config.get("z_dim"), 2 ** len(config["temperal_downsample"]), int(config["input_channels"]))
    levels = config.get("block_out_channels") or config.get("encoder_block_out_channels") or (64,)
    factor, channels = int(2 ** (len(levels) - 1)), config.get("latent_channels")
    if kind == "AutoencoderKLFlux2":
        return Latents(4 * int(config["latent_channels"]), 2 * factor, int(config.get("in_channels", 3)))
    return Latents(channels, factor, int(config.get("in_channels", 3)))


def knows_latents(kind: str, config: Mapping[str, Any]) -> bool:
    """Tell whether settings say what latents_of reads, and leave nothing of it to defaults."""
    if kind == "AutoencoderKLQwenImage":
        return {"z_dim", "temperal_downsample", "input_channels"} <= set(config)
    levels = {"block_out_channels", "encoder_block_out_channels"} & set(config)
    return bool(levels) and {"in_channels", "latent_channels"} <= set(config)

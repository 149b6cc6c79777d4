"""DINOv2 (Oquab et al. 2304.07193): 1024 features of ViT-L/14, for the Frechet distance of Stein et al. 2306.04675.

As there: images are resized to 224 x 224 by Pillow's bicubic filter, 8 bits in and 8 bits out, normalised as for
ImageNet, and the feature is the class token after the last norm. The published state dict is loaded into timm's
vision transformer (the extra `leakbench[dinov2]`); no code comes with it. Two rules of the publisher's own network
that timm's loading does not follow:

- position embeddings, learned on a 37 x 37 grid, go to 16 x 16 by a bicubic filter without antialiasing;
- that filter is given the scale (16 + 0.1) / 37, not the size 16.

Choices of ours: grey images are repeated to three channels, and the network's size is read off the state dict (64
numbers a head, as in every DINOv2).
"""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leakbench.data.image_view import ImagesLike
from leakbench.metrics.weights.resources import DINOV2, at_hand, missing
from leakbench.runtime.device import in_batches

_SIDE = 224
_HEAD = 64
_OFFSET = 0.1
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_ROWS = 32  # images in a compute batch


class DINOv2:
    """Images (N, C, H, W) in [-1, 1], grey or RGB -> (N, 1024) float32, on the images' device.

    Raises ValueError when the weights or timm are not on this machine, or the file holds something else.
    """

    name = "dinov2"

    def __init__(self, device: torch.device, weights: Path | None = None) -> None:
        path = weights or at_hand(DINOV2)
        lacking = lacking_dinov2() if weights is None else None
        if path is None or lacking:
            raise ValueError(lacking)
        self.network = load_network(path).to(device)

    def __call__(self, images: ImagesLike) -> Tensor:
        with torch.no_grad():
            return in_batches(self.at_once, images, size=_ROWS)

    def at_once(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.network.forward_features(prepared(images))  # type: ignore[operator]
        return tokens[:, 0].float()


def lacking_dinov2() -> str | None:
    """One line for users that says what DINOv2 lacks on this machine, or None."""
    if at_hand(DINOV2) is None:
        return missing(DINOV2)
    if find_spec("timm") is None:
        return "dinov2 needs the package timm: pip install leakbench[dinov2]"
    return None


def prepared(images: Tensor) -> Tensor:
    """Three channels, 224 x 224, normalised: what the network is given."""
    from PIL import Image

    if images.shape[1] not in (1, 3):
        raise ValueError(f"dinov2 features need grey or RGB images, not {images.shape[1]} channels")
    colour = images.expand(-1, 3, -1, -1)
    stored = ((colour + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    resized = [Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC) for image in stored]
    pixels = torch.from_numpy(np.stack([np.asarray(image) for image in resized])).to(images.device)
    unit = pixels.permute(0, 3, 1, 2).float() / 255
    mean, spread = (unit.new_tensor(values)[:, None, None] for values in (_MEAN, _SPREAD))
    return (unit - mean) / spread


def load_network(path: Path) -> nn.Module:
    """timm's vision transformer with a published state dict. Raises ValueError when the file holds something else."""
    from timm.models.vision_transformer import VisionTransformer

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        patch, width = state["patch_embed.proj.weight"].shape[-1], state["cls_token"].shape[-1]
        blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("blocks."))
        with torch.device("meta"):  # no start weights are drawn: at no one's expense
            network = VisionTransformer(
                img_size=_SIDE,
                patch_size=patch,
                embed_dim=width,
                depth=blocks,
                num_heads=width // _HEAD,
                init_values=1.0,  # any: that there are layer scales, which the file brings
                num_classes=0,
            )
        network.load_state_dict(converted(state, _SIDE // patch), assign=True)
    except (KeyError, TypeError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError, AttributeError) as error:
        raise ValueError(f"{path} is not a state dict of DINOv2: {' '.join(str(error).split())}") from error
    return network.requires_grad_(False).eval()


def converted(state: dict[str, Any], side: int) -> dict[str, Tensor]:
    """A published state dict as timm has it, its position embeddings on a grid of side x side patches."""
    found = {key: value for key, value in state.items() if key not in ("mask_token", "pos_embed")}
    positions = state["pos_embed"].float()
    return found | {"pos_embed": torch.cat([positions[:, :1], _on_grid(positions[:, 1:], side)], dim=1)}


def _on_grid(positions: Tensor, side: int) -> Tensor:
    """Position embeddings (1, M * M, D) of patches -> (1, side * side, D)."""
    learned = round(positions.shape[1] ** 0.5)
    if learned == side:
        return positions
    grid = positions.unflatten(1, (learned, learned)).permute(0, 3, 1, 2)
    scale = (side + _OFFSET) / learned
    return F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic").flatten(2).transpose(1, 2)

"""Image transforms under which a copy is still a copy: mirrored, shifted, cropped.

Choices of ours: a shift repeats the edge pixels; a crop takes a corner or the middle and is scaled back by bilinear
interpolation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class ImageTransform:
    """A named function of images (n, C, H, W) to images of the same shape."""

    name: str
    apply: Callable[[Tensor], Tensor]

    def __call__(self, images: Tensor) -> Tensor:
        return self.apply(images)


def transform_group(flip: bool = True, shift: int = 0, crop: int = 0) -> tuple[ImageTransform, ...]:
    """The identity first, then all shifts of up to `shift` pixels down and across and five crops that lose `crop`
    pixels; with `flip`, each of these also mirrored. Raises ValueError for negative numbers."""
    if shift < 0 or crop < 0:
        raise ValueError(f"shift = {shift} and crop = {crop} must be zero or more")
    steps = sorted(range(-shift, shift + 1), key=abs)  # the identity first
    moved = [ImageTransform(_name(down, across), _shifted(down, across)) for down, across in product(steps, steps)]
    corners = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)] if crop else []
    cut = [ImageTransform(f"crop {down}{across}", _cropped(crop, down, across)) for down, across in corners]
    plain = [*moved, *cut]
    return (*plain, *(map(_mirrored, plain) if flip else ()))


def _name(down: int, across: int) -> str:
    return f"shift {down:+d} {across:+d}" if down or across else "identity"


def _mirrored(transform: ImageTransform) -> ImageTransform:
    name = "mirror" if transform.name == "identity" else f"mirror, {transform.name}"
    return ImageTransform(name, lambda images: transform(images.flip(-1)))


def _shifted(down: int, across: int) -> Callable[[Tensor], Tensor]:
    def apply(images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        rows = (torch.arange(height, device=images.device) - down).clamp(0, height - 1)
        columns = (torch.arange(width, device=images.device) - across).clamp(0, width - 1)
        return images[..., rows, :][..., columns]

    return apply


def _cropped(lost: int, down: int, across: int) -> Callable[[Tensor], Tensor]:
    """A crop that loses `lost` rows and columns; `down` and `across` in halves of these say where it begins."""

    def apply(images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if lost >= min(height, width):
            raise ValueError(f"a crop of {lost} pixels leaves nothing of images of {height}x{width}")
        top, left = lost * down // 2, lost * across // 2
        part = images[..., top : top + height - lost, left : left + width - lost]
        return interpolate(part, size=(height, width), mode="bilinear", align_corners=False)

    return apply

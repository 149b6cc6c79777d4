"""Latents of images: encoded once, when they are first asked for, and kept on the host."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from leakbench.data.image_view import ImageStore, ImageView
from leakbench.models.release import Release

_ROWS = 64  # pictures that are read at one time
_KEPT = 8  # encodings that are remembered: a task asks for its images and for held-out ones, an attack for its own
_known: OrderedDict[tuple[int, int, bytes], _Encoded] = OrderedDict()


class _Encoded(ImageStore):
    """x_0 of pictures, float32 (N, C, H, W)."""

    def __init__(self, pictures: ImageView, release: Release) -> None:
        self._pictures, self._release = pictures.to(release.device), release
        self._resident = {}

    @cached_property
    def pixels(self) -> Tensor:  # type: ignore[override]
        """All of them."""
        made = torch.empty(len(self._pictures), *self._release.shape)
        # Whoever asks first may be in the middle of a training step, in bf16 and with gradients.
        with torch.no_grad(), torch.autocast(self._release.device.type, enabled=False):
            for part in torch.arange(len(made)).split(_ROWS):
                made[part] = self._release.encode(self._pictures[part]).float().cpu()
        return made

    @property
    def shape(self) -> tuple[int, ...]:
        return self._release.shape

    @property
    def is_float(self) -> bool:
        return True


def encode_images(pictures: ImageView, release: Release | None) -> ImageView:
    """x_0 of the pictures, on their device; the pictures themselves where the release denoises images."""
    if release is None or release.codec is None:
        return pictures
    # By identity of objects that live as long as what is remembered of them.
    key = (id(release.codec), *pictures.identity)
    found = _known[key] = _known.pop(key) if key in _known else _Encoded(pictures, release)
    if len(_known) > _KEPT:
        _known.popitem(last=False)
    return ImageView(found, np.arange(len(pictures)), pictures.device)

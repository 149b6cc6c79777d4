"""Images to the latents that a latent diffusion model denoises, and back (Rombach et al. 2022, 2112.10752).

x_0 = (E(image) - shift) * scale with the autoencoder's own `scaling_factor` and `shift_factor`; decoding inverts it.
Choice of ours: E(image) is the mean of the encoder's posterior, not a draw from it, so that an image has one x_0. VQ
and deep compression autoencoders have no posterior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leakbench.runtime.device import in_batches

_ROWS = 8  # images that the autoencoder holds at one time: those of 512x512 take gigabytes


@dataclass(frozen=True)
class VaeCodec:
    """The codec of an AutoencoderKL, AutoencoderDC or VQModel of diffusers. Answers do not depend on how many images
    are asked at once: they are made in batches of one size."""

    autoencoder: Any
    rows: int = _ROWS

    @property
    def _scale(self) -> float:
        return float(getattr(self.autoencoder.config, "scaling_factor", 1.0))

    @property
    def _shift(self) -> float:
        return float(getattr(self.autoencoder.config, "shift_factor", None) or 0.0)

    def encode(self, images: Tensor) -> Tensor:
        """x_0 of images (N, C, H, W) in [-1, 1]."""

        def batch(images: Tensor) -> Tensor:
            found = self.autoencoder.encode(images)
            mean = found.latent_dist.mean if hasattr(found, "latent_dist") else found[0]
            latents: Tensor = (mean - self._shift) * self._scale
            return latents

        with torch.no_grad():
            return in_batches(batch, images, size=self.rows)

    def decode(self, x0: Tensor) -> Tensor:
        """Images in [-1, 1]."""

        def batch(x0: Tensor) -> Tensor:
            found: Tensor = self.autoencoder.decode(x0 / self._scale + self._shift).sample
            return found.clamp(-1.0, 1.0)

        with torch.no_grad():
            return in_batches(batch, x0, size=self.rows)


def vae_codec(autoencoder: nn.Module, device: torch.device) -> VaeCodec:
    """The codec on a device."""
    return VaeCodec(autoencoder.to(device))

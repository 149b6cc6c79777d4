"""Images to the latents that a latent diffusion model denoises, and back (Rombach et al. 2022, 2112.10752).

x_0 = (E(image) - shift) * scale with the autoencoder's own `scaling_factor` and `shift_factor`; decoding inverts it.
Choice of ours: E(image) is the mean of the encoder's posterior, not a draw from it, so that an image has one x_0. VQ
and deep compression autoencoders have no posterior. Those of Qwen-Image (of videos, of which an image is one frame) and
of FLUX.2 (whose latents are patches of 2x2) have a mean and deviation for each channel.
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
    """The codec of an autoencoder of diffusers. Answers do not depend on how many images are asked at once: they are
    made in batches of one size."""

    autoencoder: Any
    rows: int = _ROWS

    @property
    def _is_video(self) -> bool:
        return hasattr(self.autoencoder.config, "z_dim")

    @property
    def _is_patched(self) -> bool:
        return hasattr(self.autoencoder, "bn")

    @property
    def _scale(self) -> Any:
        config = self.autoencoder.config
        if self._is_video:
            return 1 / self._by_channel(config.latents_std)
        if self._is_patched:
            return 1 / (self._by_channel(self.autoencoder.bn.running_var) + config.batch_norm_eps).sqrt()
        return float(getattr(config, "scaling_factor", 1.0))

    @property
    def _shift(self) -> Any:
        config = self.autoencoder.config
        if self._is_video:
            return self._by_channel(config.latents_mean)
        if self._is_patched:
            return self._by_channel(self.autoencoder.bn.running_mean)
        return float(getattr(config, "shift_factor", None) or 0.0)

    def _by_channel(self, values: Any) -> Tensor:
        place = next(self.autoencoder.parameters()).device
        return torch.as_tensor(values, dtype=torch.float32, device=place).view(1, -1, 1, 1)

    def _as_denoised(self, latents: Tensor) -> Tensor:
        """Latents (N, C, H, W) as the network has them: one frame, or patches (N, 4 C, H/2, W/2)."""
        if self._is_video:
            return latents.squeeze(2)
        return nn.functional.pixel_unshuffle(latents, 2) if self._is_patched else latents

    def _as_made(self, latents: Tensor) -> Tensor:
        """The inverse of _as_denoised."""
        if self._is_video:
            return latents.unsqueeze(2)
        return nn.functional.pixel_shuffle(latents, 2) if self._is_patched else latents

    def encode(self, images: Tensor) -> Tensor:
        """x_0 of images (N, C, H, W) in [-1, 1]."""

        def batch(images: Tensor) -> Tensor:
            found = self.autoencoder.encode(images.unsqueeze(2) if self._is_video else images)
            mean = found.latent_dist.mean if hasattr(found, "latent_dist") else found[0]
            latents: Tensor = (self._as_denoised(mean) - self._shift) * self._scale
            return latents

        with torch.no_grad():
            return in_batches(batch, images, size=self.rows)

    def decode(self, x0: Tensor) -> Tensor:
        """Images in [-1, 1]."""

        def batch(x0: Tensor) -> Tensor:
            found: Tensor = self.autoencoder.decode(self._as_made(x0 / self._scale + self._shift)).sample
            return (found.squeeze(2) if self._is_video else found).clamp(-1.0, 1.0)

        with torch.no_grad():
            return in_batches(batch, x0, size=self.rows)


def vae_codec(autoencoder: nn.Module, device: torch.device) -> VaeCodec:
    """The codec on a device."""
    return VaeCodec(autoencoder.to(device))

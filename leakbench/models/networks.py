"""Denoisers behind one protocol: a small residual MLP for images up to 8x8, diffusers' UNet2DModel above that.

A network is called as network(x, t, label): x float (N, C, H, W), t int64 (N,), label int64 (N,) or None for an
unconditional network; it answers eps (N, C, H, W), or (N,) logits when `outputs` is "logit". The same bodies thus serve
as CPSample's noise-conditioned classifier (the UNet's logit is the mean over its output pixels: a choice of ours).
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from leakbench.models.network_spec import WAVES, NetworkSpec, default_spec, unet_settings
from leakbench.runtime.device import RngStream, place, seeded


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """Sines and cosines of t at geometric frequencies (DDPM, Ho et al. 2020). t (...) -> (..., width)."""
    half = width // 2
    frequencies = torch.exp(-math.log(10_000.0) * torch.arange(half, device=t.device) / half)
    angle = t.float()[..., None] * frequencies
    return F.pad(torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1), (0, width % 2))  # an odd width ends in a 0


class _Block(nn.Module):
    """Pre-norm residual block."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        inner: Tensor = self.outer(self.dropout(F.silu(self.inner(self.norm(h)))))
        return h + inner


class ResidualMLP(nn.Module):
    """A residual MLP on flattened pixels; `width` hidden units, `blocks` blocks.

    x may have any leading dimensions (..., C, H, W), with t and label (...): several noise draws of one image, say.
    Time and label enter once, added to the residual stream that every block reads (a block's own modulation cost
    half of the arithmetic and copied no more).
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        pixels = math.prod(spec.shape)
        channels, height, width = spec.shape
        self.entry = nn.Linear((channels + spec.extra_channels) * height * width, spec.width)
        self.time = nn.Sequential(nn.Linear(WAVES, spec.width), nn.SiLU(), nn.Linear(spec.width, spec.width))
        self.label = nn.Embedding(spec.conditions, spec.width) if spec.conditions else None
        self.blocks = nn.Sequential(*(_Block(spec.width, spec.dropout) for _ in range(spec.blocks)))
        outputs = pixels if spec.outputs == "image" else 1
        self.exit = nn.Sequential(nn.LayerNorm(spec.width), nn.Linear(spec.width, outputs))

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        h = self.entry(x.flatten(-3)) + self.time(timestep_embedding(t, WAVES))
        if self.label is not None:
            h = h + self.label(label)
        out: Tensor = self.exit(self.blocks(h)).float()
        return out.unflatten(-1, self.spec.shape) if self.spec.outputs == "image" else out[..., 0]


class UNet(nn.Module):
    """diffusers' UNet2DModel; `width` base channels, `blocks` blocks a level.

    With `levels` it is the UNet of Ho et al. (2020): so many widths of channels at each level, one head of attention at
    the level whose side is `attention` pixels, nowhere else but in the middle. Without, it has up to three levels of 1,
    2 and 2 widths, and attention of several heads at that side and below (choices of ours).
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        self.spec = spec
        self.body = UNet2DModel(**unet_settings(spec))

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        # UNet2DModel halves the image once a level: odd sizes are padded up and cropped back (a choice of ours).
        height, width = x.shape[-2:]
        step = 2 ** (len(self.body.config.block_out_channels) - 1)
        grown = F.pad(x, (0, -width % step, 0, -height % step), mode="replicate")
        out: Tensor = self.body(grown, t, class_labels=label).sample[..., :height, :width].float()
        return out if self.spec.outputs == "image" else out.flatten(1).mean(dim=1)


Network = ResidualMLP | UNet

__all__ = [
    "Network",
    "NetworkSpec",
    "ResidualMLP",
    "UNet",
    "build",
    "default_spec",
    "load",
    "save",
    "timestep_embedding",
]


def build(spec: NetworkSpec, stream: RngStream) -> Network:
    """A network with fresh weights. The same stream gives the same weights on every machine and device.

    torch's own initialisers keep their ranges; only their source of randomness is seeded here, so that building a
    network never disturbs, nor depends on, the global generator.
    """
    with seeded(stream):
        return ResidualMLP(spec) if spec.kind == "mlp" else UNet(spec)


def save(network: Network, folder: Path, name: str) -> None:
    """Write folder/name.safetensors and folder/name.json."""
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    save_file(state, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(network.spec.model_dump_json(indent=1) + "\n")


def load(folder: Path, name: str, device: torch.device) -> Network:
    """Read what `save` wrote, in eval mode, without gradients."""
    spec = NetworkSpec.model_validate_json((folder / f"{name}.json").read_text())
    network = build(spec, RngStream((0, 0)))
    network.load_state_dict(load_file(folder / f"{name}.safetensors"))
    return place(network, device).eval().requires_grad_(False)

"""Losses, distances and skip reasons that several membership attacks share."""

from collections.abc import Sequence

import torch
from torch import Tensor

from leakbench.api.views import DenoiserView

from ._frequencies import Frequencies, filtered


def squared_error(answer: Tensor, wanted: Tensor) -> Tensor:
    """Squared difference of two batches (N, C, H, W), summed over pixels: (N,)."""
    return (answer - wanted).square().flatten(1).sum(dim=1)


def power_sum(x: Tensor, p: float) -> Tensor:
    """Sum over pixels of |x|^p, (N,): the p-norm without its root, which ranks images alike."""
    return x.abs().pow(p).flatten(1).sum(dim=1)


def losses(
    view: DenoiserView, t: int, draws: int = 1, frequencies: Frequencies = "all", labels: Tensor | None = None
) -> Tensor:
    """Denoising losses (N,) of the view's images at timestep t: squared error summed over pixels, mean of draws.

    L_t(x) = (1/n) sum_j || eps_j - eps_theta(x_t(eps_j), t) ||^2, with the noise that all attacks share. Of the error
    the `frequencies` asked for count. labels (N,): of the condition, by default the images' own.
    """
    differences = (view.eps(view.noised(t, draw), t, labels) - view.noise(draw) for draw in range(draws))
    errors = [filtered(one, frequencies).square().flatten(1).sum(dim=1) for one in differences]
    return sum(errors[1:], errors[0]) / draws


def mean_losses(view: DenoiserView, timesteps: Sequence[int], draws: int, frequencies: Frequencies = "all") -> Tensor:
    """`losses` (N,), mean over timesteps."""
    found = [losses(view, t, draws, frequencies) for t in timesteps]
    return sum(found[1:], found[0]) / len(found)


def mean_losses_under(view: DenoiserView, timesteps: Sequence[int], labels: Tensor | None) -> Tensor:
    """`losses` (N,) under these labels, of one draw, mean over timesteps: float64, for differences of such."""
    return torch.stack([losses(view, t, labels=labels) for t in timesteps]).double().mean(dim=0)

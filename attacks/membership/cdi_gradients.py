"""CDI with all of its features: those of `cdi`, and what gradients with respect to the network's input tell.

Dubinski et al., CVPR 2025 (2411.12858), as in the authors' code. One draw of noise eps for all; D numbers an image:

    gradient masking, at t = 0, 100, .., 900:  g = grad_{x_t} || eps_theta(x_t, t) - eps ||_2;  M: the int(0.2 D)
        entries with the largest |g|;  x_M: x_0 with those of eps in M;  || (eps - x_0 - eps_theta(x_M, t)) in M ||_2
    noise optimisation, at t = 100:  from delta = 0, five iterations of L-BFGS-B minimise
        || eps_theta(x_t + delta, t) - eps ||_2;  where that ends, and || delta ||_2

Implementation choices: every image is optimised alone (published: the mean of a batch, so that a feature depends on
what else is in the batch), and the first of the two is the minimum itself (the published code noises x_t + delta once
more before it takes the norm). The regression, and choices for all features: cdi.py.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Access
from leakbench.api.views import WeightsView
from leakbench.models.diffusion import full_timesteps

from ._regression import log_errors
from .cdi import CDI, TIMESTEPS

_SHARE = 0.2  # of an image's numbers in the mask
_T = 100  # of the noise optimisation
_ITERATIONS = 5


class CDIGradients(CDI):
    """Logistic regression on 26 features; 41 network calls an image, 10 gradients, and about 8 of one image alone."""

    name = "cdi_gradients"
    summary = "as cdi, with gradient masking and noise optimisation among the features (CDI)"
    access = Access.WEIGHTS

    def features(self, view: WeightsView, images: Tensor, labels: Tensor | None) -> Tensor:  # type: ignore[override]
        """Logarithms of the errors, (N, 26), float64."""
        found = [*(masked_error(view, images, t) for t in TIMESTEPS), *optimised(view)]
        return torch.cat([super().features(view, images, labels), log_errors(found)], dim=1)


def masked_error(view: WeightsView, images: Tensor, t: int) -> Tensor:
    """The error (N,) at t on the entries that the gradient points at, where x_0 (N, C, H, W) is replaced by noise."""
    noise = view.noise()
    _, gradient = _error_and_gradient(view.network, view.noised(t), t, noise, view.labels)
    mask = largest(gradient.abs(), int(_SHARE * images[0].numel()))
    answer = view.eps(torch.where(mask, noise, images), t)
    return ((noise - images - answer) * mask).flatten(1).norm(dim=1)


def largest(values: Tensor, count: int) -> Tensor:
    """True at the `count` largest entries (one at least) of each row of values (N, C, H, W)."""
    flat = values.flatten(1)
    chosen = flat.topk(max(1, count), dim=1).indices
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, chosen, True).view_as(values)


def optimised(view: WeightsView) -> tuple[Tensor, Tensor]:
    """The error (N,) that the best-fitting shift of x_t leaves, and the length (N,) of that shift, float64."""
    x_t, noise, labels = view.noised(_T), view.noise(), view.labels
    ends = []
    for i in range(len(x_t)):
        one = slice(i, i + 1)
        ends.append(_optimise(view.network, x_t[one], noise[one], None if labels is None else labels[one]))
    error, length = torch.tensor(ends, dtype=torch.float64, device=x_t.device).T
    return error, length


def _optimise(network: torch.nn.Module, x_t: Tensor, noise: Tensor, label: Tensor | None) -> tuple[float, float]:
    """The error and the length of the shift for one image (1, C, H, W)."""
    from scipy.optimize import minimize

    def objective(shift: np.ndarray) -> tuple[float, np.ndarray]:
        x = (x_t.double() + torch.from_numpy(shift).to(x_t.device).view_as(x_t)).to(x_t.dtype)
        error, gradient = _error_and_gradient(network, x, _T, noise, label)
        return float(error), gradient.double().cpu().numpy().ravel()

    start = np.zeros(x_t.numel())
    end = minimize(objective, start, method="L-BFGS-B", jac=True, options={"maxiter": _ITERATIONS})
    return float(end.fun), float(np.linalg.norm(end.x))


def _error_and_gradient(
    network: torch.nn.Module, x: Tensor, t: int, noise: Tensor, label: Tensor | None
) -> tuple[Tensor, Tensor]:
    """|| eps_theta(x, t) - noise ||_2 of each row (N,), and its gradient in x (N, C, H, W)."""
    x = x.detach().requires_grad_(True)
    with torch.enable_grad():
        error = (network(x, full_timesteps(t, x), label) - noise).flatten(1).norm(dim=1)
        (gradient,) = torch.autograd.grad(error.sum(), x)
    return error.detach(), gradient

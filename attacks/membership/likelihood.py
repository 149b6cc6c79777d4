"""Log-likelihood of the image under the model, by the probability-flow ODE: members are likelier.

Hu & Pang 2023 (2301.09956); Song et al. 2021 (2011.13456), eq. 39. The walk runs from the image at t = 0 up to x_T at
the last timestep, and the density follows the divergence of its velocity v:

    S(x) = log p(x_0) = log N(x_T; 0, I) + integral of div v(x_phi, phi) d phi      in nats

The angle phi = arccos sqrt(alpha_bar_t) serves as time: there the ODE of a variance-preserving process reads

    dx / d phi = v = (eps_theta(x, t) - sin(phi) x) / cos(phi),    div v = (div eps_theta - D sin(phi)) / cos(phi)

Heun's second-order step between neighbours of an even grid of timesteps (rounded), the trapezoid rule for the
integral. The divergence is Hutchinson's estimate, mean over probes z of z' J z, where J z is a central difference of
answers at x + h z and x - h z: eps answers are all that it needs. The probes are +1 or -1 in every pixel, the same
along the whole walk.

Choices of ours: 20 steps and one probe (the paper solves adaptively); h is .01 of the noise level, sin(phi); the image
itself is taken for x_0, without noise; the density is that of pixels in [-1, 1], not of the 256 levels of a file.
"""

from itertools import pairwise
from math import acos, cos, log, pi, sin, sqrt

from torch import Tensor

from leakbench.api import Access, MembershipAttack, Needs, release_param
from leakbench.api.views import DenoiserView

_H = 0.01


class Likelihood(MembershipAttack):
    """Log-density by the ODE; 2 * steps + 2 * probes * (steps + 1) network calls an image, 82 by default."""

    name = "likelihood"
    summary = "log-likelihood by the probability-flow ODE"
    access = Access.DENOISER
    shares = False  # a walk of its own

    steps: int = release_param(20, ge=1, lt=1000)
    probes: int = release_param(1, ge=1)

    @property
    def needs(self) -> Needs:
        """Timesteps to step between."""
        return Needs(walked=self.steps)

    def score(self, view: DenoiserView, images: Tensor, labels: Tensor | None) -> Tensor:
        """Log-density in nats, float64."""
        grid = [round(i * (view.schedule.T - 1) / self.steps) for i in range(self.steps + 1)]
        angle = [acos(sqrt(view.schedule.alpha_bar[t])) for t in grid]
        signs = [_probe(view, images, draw) for draw in range(self.probes)]
        x, spread = images, [_divergence(view, images, grid[0], angle[0], signs)]
        for (s, u), (phi, psi) in zip(pairwise(grid), pairwise(angle), strict=True):
            here = _velocity(view, x, s, phi)
            there = _velocity(view, x + (psi - phi) * here, u, psi)
            x = x + (psi - phi) / 2 * (here + there)
            spread.append(_divergence(view, x, u, psi, signs))
        pairs = zip(pairwise(angle), pairwise(spread), strict=True)
        rise: Tensor = sum((psi - phi) / 2 * (a + b) for (phi, psi), (a, b) in pairs)  # type: ignore[assignment]
        return _standard_normal(x) + rise


def _velocity(view: DenoiserView, x: Tensor, t: int, phi: float) -> Tensor:
    return (view.eps(x, t) - sin(phi) * x) / cos(phi)


def _divergence(view: DenoiserView, x: Tensor, t: int, phi: float, signs: list[Tensor]) -> Tensor:
    """div v at x, (N,) float64: the mean of the probes' estimates."""
    h = _H * sin(phi)
    estimates = [
        (z * (view.eps(x + h * z, t) - view.eps(x - h * z, t))).double().flatten(1).sum(dim=1) / (2 * h) for z in signs
    ]
    return (sum(estimates[1:], estimates[0]) / len(signs) - sin(phi) * x[0].numel()) / cos(phi)


def _probe(view: DenoiserView, images: Tensor, draw: int) -> Tensor:
    """+1 or -1 in every pixel, (N, C, H, W), by image number."""
    bits = view.stream("likelihood").integers(view.ids, 2, tuple(images.shape[1:]), draw)
    return (2 * bits - 1).to(images.dtype)


def _standard_normal(x: Tensor) -> Tensor:
    """log N(x; 0, I), (N,) float64."""
    return -(x.double().square() + log(2 * pi)).flatten(1).sum(dim=1) / 2

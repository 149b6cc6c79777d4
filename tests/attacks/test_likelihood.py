"""Log-likelihood by the ODE: closed-form Gaussians have known densities; a loop with an exact Jacobian has the same."""

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import multivariate_normal

from leakbench.api import AuditSetting, MembershipAttack, Release
from leakbench.attacks.membership.likelihood import Likelihood
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.diffusion import Schedule
from leakbench.runtime.device import Rng

SHAPE, D, N = (1, 4, 4), 16, 60
STREAMS = Rng("likelihood", 0)
IDS = torch.arange(100, 100 + N)
ALPHA_BAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
MEAN = np.linspace(-0.3, 0.3, D)
AXES = np.linalg.qr(STREAMS.of("axes").normal(torch.arange(D), (D,)).double().numpy())[0]
SPREADS = np.linspace(0.3, 1.0, D) ** 2


class Gaussian(torch.nn.Module):
    """The exact eps of data from N(MEAN, covariance): sigma (alpha_bar C + sigma^2)^-1 (x - sqrt(alpha_bar) MEAN)."""

    def __init__(self, covariance: np.ndarray) -> None:
        super().__init__()
        self.covariance, self.calls = covariance, 0

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        self.calls += 1
        a = ALPHA_BAR[int(t[0])]
        matrix = math.sqrt(1 - a) * np.linalg.inv(a * self.covariance + (1 - a) * np.eye(D))
        centred = x.flatten(1).double() - torch.from_numpy(math.sqrt(a) * MEAN)
        return (centred @ torch.from_numpy(matrix)).to(x.dtype).view_as(x)


class Bent(torch.nn.Module):
    """A network with a full, changing Jacobian."""

    matrix = AXES * 0.4

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return torch.sin(x.flatten(1) @ torch.from_numpy(self.matrix).to(x.dtype) + t.view(-1, 1) / 300).view_as(x)


def scored(attack: MembershipAttack, network: torch.nn.Module, points: np.ndarray, batch: int = N, ids=IDS):
    release = Release(network, Schedule(), STREAMS, SHAPE, torch.device("cpu"), batch=batch)
    images = Images(torch.from_numpy(points).view(-1, *SHAPE), ids[: len(points)], None)
    scores, queries = AttackTarget.of(release, STREAMS).score({"": AttackRequest(attack, False)}, images)
    return scores[""], queries[""]


def drawn(covariance: np.ndarray, name: str) -> np.ndarray:
    normal = STREAMS.of(name).normal(torch.arange(N), (D,)).double().numpy()
    return MEAN + normal @ np.linalg.cholesky(covariance).T


def density(points: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Log-density at t = 0, where the walk begins: noise of standard deviation .01 is already in it."""
    a = ALPHA_BAR[0]
    return multivariate_normal(math.sqrt(a) * MEAN, a * covariance + (1 - a) * np.eye(D)).logpdf(points)


@pytest.mark.parametrize(("steps", "within"), [(20, 0.5), (100, 0.02)])
def test_independent_pixels_have_their_closed_form(steps, within):
    """Hutchinson's estimate is exact for a diagonal Jacobian: what is left is the error of the steps, in nats of about
    -16 +- 3, and it falls with their square."""
    covariance = np.diag(SPREADS)
    points = drawn(covariance, "points")
    network = Gaussian(covariance)
    found, queries = scored(Likelihood(steps=steps), network, points)
    np.testing.assert_allclose(found, density(points, covariance), atol=within)
    np.testing.assert_allclose(found, multivariate_normal(MEAN, covariance).logpdf(points), atol=within + 0.03)
    assert queries == network.calls == 2 * steps + 2 * (steps + 1)


def test_in_float32_as_in_float64():
    covariance = np.diag(SPREADS)
    points = drawn(covariance, "points")
    double, _ = scored(Likelihood(), Gaussian(covariance), points)
    single, _ = scored(Likelihood(), Gaussian(covariance), points.astype(np.float32))
    np.testing.assert_allclose(single, double, atol=0.01)


def test_probes_converge_on_dependent_pixels():
    """One probe errs, by chance, where pixels depend on each other; the mean of 64 probes errs an eighth of it."""
    covariance = AXES @ np.diag(SPREADS) @ AXES.T
    points = drawn(covariance, "points")
    errors = {
        probes: scored(Likelihood(steps=40, probes=probes), Gaussian(covariance), points)[0]
        - density(points, covariance)
        for probes in (1, 64)
    }
    assert np.sqrt((errors[64] ** 2).mean()) < 0.25 * np.sqrt((errors[1] ** 2).mean())
    assert abs(errors[64].mean()) < 4 * errors[64].std() / math.sqrt(N) + 0.1


def test_points_of_the_data_are_likelier_than_those_of_another_gaussian():
    covariance = AXES @ np.diag(SPREADS) @ AXES.T
    other = AXES @ np.diag(SPREADS[::-1]) @ AXES.T
    ours, _ = scored(Likelihood(), Gaussian(covariance), drawn(covariance, "ours"))
    theirs, _ = scored(Likelihood(), Gaussian(covariance), drawn(other, "theirs"))
    exact = np.mean(density(drawn(covariance, "ours"), covariance)) - np.mean(
        density(drawn(other, "theirs"), covariance)
    )
    assert np.mean(ours) - np.mean(theirs) == pytest.approx(exact, rel=0.2) and exact > 4
    assert np.mean(ours[:, None] > theirs[None, :]) > 0.8


def by_hand(x: np.ndarray, number: int, steps: int, probes: int) -> float:
    """One image, the Jacobian in closed form, the standard time of Song et al. replaced by the angle step by step."""
    shape = (steps + 1,)
    grid = [round(i * 999 / steps) for i in range(shape[0])]
    phi = [math.acos(math.sqrt(ALPHA_BAR[t])) for t in grid]
    bits = [
        STREAMS.of("attacking", "own", "likelihood").integers(torch.tensor([number]), 2, SHAPE, d)
        for d in range(probes)
    ]
    z = [2.0 * b[0].numpy().reshape(-1) - 1 for b in bits]

    def velocity(x, i):
        return (np.sin(x @ Bent.matrix + grid[i] / 300) - math.sin(phi[i]) * x) / math.cos(phi[i])

    def divergence(x, i):
        jacobian = Bent.matrix * np.cos(x @ Bent.matrix + grid[i] / 300)  # d eps_j / d x_i
        return (np.mean([v @ jacobian @ v for v in z]) - D * math.sin(phi[i])) / math.cos(phi[i])

    rise = 0.0
    for i in range(steps):
        h, before = phi[i + 1] - phi[i], divergence(x, i)
        first = velocity(x, i)
        x = x + h / 2 * (first + velocity(x + h * first, i + 1))
        rise += h / 2 * (before + divergence(x, i + 1))
    return -0.5 * (x @ x) - D / 2 * math.log(2 * math.pi) + rise


@pytest.mark.parametrize(("steps", "probes"), [(20, 1), (7, 3)])
def test_it_is_the_plain_loop(steps, probes):
    points = drawn(np.diag(SPREADS), "points")[:8]
    found, queries = scored(Likelihood(steps=steps, probes=probes), Bent(), points, batch=8)
    wanted = [by_hand(x, int(number), steps, probes) for x, number in zip(points, IDS, strict=False)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert queries == 2 * steps + 2 * probes * (steps + 1)


def test_batches_and_order_change_no_score():
    points, attack = drawn(np.diag(SPREADS), "points")[:9], Likelihood(steps=5, probes=2)
    whole, _ = scored(attack, Bent(), points)
    for batch in (1, 4):
        np.testing.assert_allclose(scored(attack, Bent(), points, batch)[0], whole, rtol=1e-9)
    order = np.array([8, 3, 0, 5, 1, 7, 2, 4, 6])
    np.testing.assert_allclose(scored(attack, Bent(), points[order], 4, IDS[order])[0], whole[order], rtol=1e-9)


def test_it_walks_alone_and_refuses_more_steps_than_there_are():
    def place(timesteps):
        return AuditSetting((), "none", "nothing", timesteps, 100)

    assert not Likelihood().shares
    assert Likelihood().skip(place(21)) is None
    assert Likelihood().skip(place(20)).reason == (
        "it takes 20 steps, and the noise schedule has 20 timesteps: at most one less"
    )
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Likelihood(probes=0)

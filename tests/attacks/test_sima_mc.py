"""SimA-MC on a network of known answers: without noise it is SimA, and the noise averages out."""

import numpy as np
import pytest
import torch

from leakbench.api import MembershipAttack, Release
from leakbench.attacks.membership.sima import SimA
from leakbench.attacks.membership.sima_mc import SimAMC
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models.diffusion import Schedule
from leakbench.runtime.device import Rng

SHAPE, STREAMS = (1, 8, 8), Rng("sima-mc", 0)
IMAGES = torch.tanh(STREAMS.of("images").normal(torch.arange(5), SHAPE))


class Proportional(torch.nn.Module):
    """Answers with a multiple of what it is asked about."""

    def forward(self, x: torch.Tensor, t: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
        return 0.7 * x


def scored(attack: MembershipAttack) -> tuple[np.ndarray, float]:
    release = Release(Proportional(), Schedule(), STREAMS, SHAPE, torch.device("cpu"), batch=8)
    asked = {"": AttackRequest(attack, False)}
    scores, queries = AttackTarget.of(release, STREAMS).score(asked, Images(IMAGES, torch.arange(5), None))
    return scores[""], queries[""]


def test_where_hardly_any_noise_is_added_it_is_sima():
    """At t = 0 an image keeps 0.9999 of its power."""
    once, calls = scored(SimAMC(t=0, draws=1))
    assert calls == 1 and np.allclose(once, scored(SimA(t=0))[0], rtol=0.1)


def test_the_noise_averages_out():
    """Mean of c (psi x + sigma e_j): by hand from the noise that the attacks share; with more draws nearer to psi x."""
    scores, calls = scored(SimAMC(t=300, draws=3))
    level = float(Schedule().alpha_bar[300])
    noise = torch.stack([STREAMS.of("attacking", "forward").normal(torch.arange(5), SHAPE, j) for j in range(3)])
    mean = 0.7 * (level**0.5 * IMAGES + (1 - level) ** 0.5 * noise.mean(0))
    assert calls == 3 and np.allclose(-scores, (mean**4).sum((1, 2, 3)), rtol=1e-4)
    limit = ((0.7 * level**0.5 * IMAGES) ** 4).sum((1, 2, 3)).numpy()
    gaps = [np.abs(-scored(SimAMC(t=300, draws=draws))[0] / limit - 1).max() for draws in (1, 30)]
    assert gaps[1] < 0.25 * gaps[0]


def test_it_takes_at_least_one_draw():
    with pytest.raises(ValueError, match="draws"):
        SimAMC(draws=0)

"""Masks and weights of unlearning methods, which need no network, against their published formulas."""

import math

import numpy as np
import pytest
import torch

from leakbench.defenses.salun import top_mask
from leakbench.defenses.sfron import adaptive_weights
from leakbench.defenses.siss import importance


@pytest.mark.parametrize("density", [0.01, 0.3, 0.5, 1.0])
def test_the_mask_is_the_top_share_of_the_whole_vector(density):
    rng = np.random.default_rng(0)
    values = [
        torch.tensor(rng.normal(size=shape) * scale) for shape, scale in (((7, 9), 1), ((40,), 3), ((3, 2, 5), 9))
    ]
    mask, magnitudes = (torch.cat([v.flatten() for v in vs]).numpy() for vs in (top_mask(values, density), values))
    magnitudes, count = np.abs(magnitudes), round(density * 133)
    assert set(mask.tolist()) <= {0.0, 1.0} and mask.sum() == count
    assert magnitudes[mask == 1].min() >= np.sort(magnitudes)[-count]
    assert sum(map(torch.sum, top_mask([torch.zeros(6), torch.zeros(4)], 0.5))) == 5  # equal magnitudes


@pytest.mark.parametrize("lam", [0.0, 0.2, 0.5, 1.0])
def test_the_importance_weights_are_the_formulas(lam):
    drawn = torch.Generator().manual_seed(0)
    d_x, d_a = (10 * torch.rand(500, generator=drawn, dtype=torch.float64) for _ in range(2))
    w_x, w_a = importance(d_x, d_a, lam)
    torch.testing.assert_close(w_x, 1 / ((1 - lam) + lam * torch.exp(d_x - d_a)))
    torch.testing.assert_close(w_a, 1 / ((1 - lam) * torch.exp(d_a - d_x) + lam))
    torch.testing.assert_close((1 - lam) * w_x + lam * w_a, torch.ones_like(w_x))
    if 0 < lam < 1:
        odds = math.log((1 - lam) / lam)
        torch.testing.assert_close(w_x, torch.sigmoid(odds + d_a - d_x) / (1 - lam))
    far = importance(torch.tensor([0.0, 5000.0, 8.0]), torch.tensor([5000.0, 0.0, 8.0]), 0.5)
    assert far[0].tolist() == [2.0, 0.0, 1.0] and far[1].tolist() == [0.0, 2.0, 1.0]


def test_the_adaptive_weights_have_mean_one_and_fall_with_the_loss():
    losses = torch.tensor([1.0, 4.0, 16.0, 0.25], dtype=torch.float64, requires_grad=True)
    weights = adaptive_weights(losses, 0.5)
    assert float(weights.mean()) == pytest.approx(1) and not weights.requires_grad
    torch.testing.assert_close(weights / weights[0], torch.tensor([1, 0.5, 0.25, 2]).double())
    assert torch.equal(adaptive_weights(losses, 0.0), torch.ones(4).double())
    assert bool(adaptive_weights(torch.tensor([0.0, 1.0]), 0.5).isfinite().all())

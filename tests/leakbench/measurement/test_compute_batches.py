"""Sampling and attacks compute few rows beside those that are asked for, and the same bits however work is shared."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from leakbench.api import Release
from leakbench.attacks.membership.loss import Loss
from leakbench.attacks.membership.pia import PIA
from leakbench.data.image_batch import Images
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models import sampling
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec, build
from leakbench.runtime import distributed
from leakbench.runtime.device import Rng

STREAMS = Rng("batches", 0)
UNET = NetworkSpec(kind="unet", shape=(1, 10, 10), width=8, blocks=1)
ASKED = {"loss": AttackRequest(Loss(), False), "pia": AttackRequest(PIA(), False)}
CALLS = 3  # an image, of both attacks


def release(batch: int) -> Release:
    network = build(UNET, STREAMS.of("weights")).eval().requires_grad_(False)
    return Release(network, Schedule(steps=2), STREAMS, UNET.shape, torch.device("cpu"), batch=batch)


def scores(batch: int, count: int, first: int = 0) -> np.ndarray:
    ids = torch.arange(first, first + count)
    images = Images(torch.tanh(STREAMS.of("images").normal(ids, UNET.shape)), ids, None)
    found, _ = AttackTarget.of(release(batch), STREAMS).score(ASKED, images)
    return np.stack([found[name] for name in ASKED])


@pytest.mark.parametrize(("count", "rows"), [(1, 8), (31, 32), (33, 40), (64, 64), (65, 72)])
def test_rows_that_the_network_computes_in_batches_of_64(monkeypatch, count, rows):
    seen = []

    def answer(self, x, t, label=None):
        seen.append(len(x))
        return 0.5 * x

    monkeypatch.setattr(Release, "raw_eps", answer)
    release(64).sample(count)
    assert sum(seen) == 2 * rows
    seen.clear()
    scores(64, count)
    assert sum(seen) == CALLS * rows


def test_scores_and_samples_of_other_batch_sizes_agree_to_a_part_in_ten_thousand():
    """The stated tolerance: sums run in another order where a kernel is chosen by the number of rows."""
    full, drawn = scores(64, 33), release(64).sample(33)
    for batch in (8, 12, 40):
        np.testing.assert_allclose(scores(batch, 33), full, rtol=1e-4)
        torch.testing.assert_close(release(batch).sample(33), drawn, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_rest_and_find_the_bits_of_one(monkeypatch, processes):
    alone, drawn = scores(16, 37), release(16).sample(37)
    monkeypatch.setattr(distributed, "all_gather", lambda mine, *_: mine)
    monkeypatch.setattr(distributed, "broadcast", lambda make: make())
    found = []
    monkeypatch.setattr(distributed._group, "world_size", processes)
    for rank in range(processes):
        monkeypatch.setattr(distributed._group, "rank", rank)
        found.append((scores(16, 37), sampling.draw(release(16), torch.arange(37), None)))
    assert np.array_equal(np.concatenate([part for part, _ in found], axis=1), alone)
    assert torch.equal(torch.cat([part for _, part in found]), drawn)

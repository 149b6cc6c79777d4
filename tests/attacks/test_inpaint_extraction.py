"""Inpainting beside a plain loop; a model that knows an image brings it back; parameters are checked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from leakbench.api import Release
from leakbench.attacks.replication.inpaint_extraction import InpaintExtraction
from leakbench.data.image_batch import Images
from leakbench.measurement.extraction import recover
from leakbench.measurement.query_engine import AttackTarget
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec, build
from leakbench.runtime.device import Rng

SHAPE, STREAMS = (1, 8, 8), Rng("test", 0)
IDS = torch.arange(100, 120)
PICTURES = torch.tanh(STREAMS.of("images").normal(IDS, SHAPE))
ATTACK = InpaintExtraction(attempts=6, keep=3)


class Scaled:
    """A codec of larger images: each of 2x2 pixels is one of half the value."""

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(images, 2) / 2

    def decode(self, x0: torch.Tensor) -> torch.Tensor:
        return (2 * x0).clamp(-1, 1).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def release(kind: type[Release] = Release, batch: int = 8, conditions: int = 0, steps: int = 5) -> Release:
    spec = NetworkSpec(kind="mlp", shape=SHAPE, width=32, blocks=1, conditions=conditions)
    network = build(spec, STREAMS.of("weights")).eval().requires_grad_(False)
    return kind(network, Schedule(steps=steps), STREAMS, SHAPE, torch.device("cpu"), batch=batch)


def found(model: Release, attack: InpaintExtraction = ATTACK, rows: torch.Tensor | None = None) -> torch.Tensor:
    rows = torch.arange(len(IDS)) if rows is None else rows
    labels = rows % model.conditions if model.conditions else None
    return recover(AttackTarget.of(model, STREAMS), attack, Images(PICTURES[rows], IDS[rows], labels))[0]


@pytest.mark.parametrize("conditions", [0, 2])
def test_it_is_the_mean_over_the_likeliest_completions_by_a_plain_loop(conditions):
    model = release(conditions=conditions)
    similarity = found(model)
    alpha_bar, walk = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), model.schedule.timesteps()
    for i in range(4):
        x0 = PICTURES[i : i + 1]
        label = torch.tensor([i % 2]) if conditions else None

        def eps(x, t, label=label):
            return model.network(x.float(), torch.tensor([t]), label)

        def noise(purpose, draw, i=i):
            return STREAMS.of("attacking", purpose).normal(IDS[i : i + 1], SHAPE, draw)

        judged = []
        for draw in range(6):
            x, known = noise("inpaint start", draw), noise("inpaint known", draw)
            for s, u in zip(walk, [*walk[1:], None], strict=True):
                x[..., :4] = (alpha_bar[s] ** 0.5 * x0 + (1 - alpha_bar[s]) ** 0.5 * known)[..., :4].float()
                e = eps(x, s)
                clean = (x - (1 - alpha_bar[s]) ** 0.5 * e) / alpha_bar[s] ** 0.5
                x = clean if u is None else alpha_bar[u] ** 0.5 * clean + (1 - alpha_bar[u]) ** 0.5 * e
            x = torch.cat([x0[..., :4], x[..., 4:].clamp(-1, 1)], dim=-1)
            e = noise("forward", 0)
            loss = (eps(alpha_bar[100] ** 0.5 * x + (1 - alpha_bar[100]) ** 0.5 * e, 100) - e).square().mean()
            judged.append((loss.item(), (x - x0)[..., 4:].square().mean().sqrt().item()))
        kept = [distance for _, distance in sorted(judged)[:3]]
        assert similarity[i].item() == pytest.approx(-np.mean(kept), abs=1e-5)


def test_batches_and_order_do_not_matter():
    whole, order = found(release()), torch.randperm(20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found(release(batch=3)), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found(release(), rows=order), whole[order], rtol=1e-4, atol=1e-5)


class Remembers(Release):
    """The exact denoiser of a model that knows the first ten images and nothing else."""

    def eps(self, x, t, label=None):
        alpha_bar = torch.from_numpy(self.schedule.alpha_bar)[t][:, None, None, None].float()
        known = PICTURES[:10]
        far = (x[:, None] - alpha_bar.sqrt()[:, None] * known).square().flatten(2).sum(dim=2)
        weights = (-far / (2 * (1 - alpha_bar.flatten(1)))).softmax(dim=1)
        x0 = (weights[:, :, None, None, None] * known).sum(dim=1)
        return (x - alpha_bar.sqrt() * x0) / (1 - alpha_bar).sqrt()


def test_what_the_model_remembers_comes_back_and_nothing_else():
    similarity = found(release(Remembers, steps=20), InpaintExtraction(attempts=12, keep=3))
    assert similarity[:10].min() > -0.05 and similarity[10:].max() < -0.3


def test_of_a_latent_model_completions_are_compared_in_pixels():
    model, attack = replace(release(), codec=Scaled()), InpaintExtraction(attempts=1, keep=1)
    large = PICTURES.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    similarity = recover(AttackTarget.of(model, STREAMS), attack, Images(large, IDS, None))[0]
    start, known = (STREAMS.of("attacking", f"inpaint {one}").normal(IDS, SHAPE, 0) for one in ("start", "known"))
    hidden = torch.arange(16).expand(16, 16) >= 8
    completed = model.inpaint(large, hidden, start, known)
    assert torch.equal(completed[..., :8], large[..., :8])
    expected = (completed - large)[..., 8:].square().flatten(1).mean(dim=1).sqrt()
    torch.testing.assert_close(similarity, -expected, rtol=1e-4, atol=1e-5)


def test_queries_are_one_walk_and_one_loss_an_attempt():
    images = Images(PICTURES, IDS, None)
    assert recover(AttackTarget.of(release(), STREAMS), ATTACK, images)[1].mean == 6 * (5 + 1)


def test_more_cannot_be_kept_than_were_made():
    with pytest.raises(ValidationError, match="at most attempts = 5"):
        InpaintExtraction(attempts=5)
    assert InpaintExtraction(attempts=5, keep=5).keep == 5

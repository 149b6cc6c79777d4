"""The public toys: shapes and ranges as documented, equal bits every time, and a release that has memorised."""

from __future__ import annotations

import typing

import numpy as np
import pytest
import torch

import leakbench.testing
from leakbench.api import Access, shadow_models
from leakbench.api.views import VIEWS
from leakbench.attacks.membership.loss import Loss
from leakbench.models.diffusion import add_noise, full_timesteps
from leakbench.statistics import auc
from leakbench.testing import toy_images, toy_release, toy_task, toy_view
from leakbench.testing.settings import Plain, defense_task


def test_images_are_in_range_and_a_longer_batch_begins_with_the_shorter_one():
    images = toy_images(50)
    assert images.shape == (50, 1, 8, 8) and images.dtype == torch.float32
    assert float(images.abs().max()) <= 1 and float(images.std()) > 0.3
    assert torch.equal(toy_images(7), images[:7])
    assert not torch.equal(toy_images(7, "others"), images[:7])


@pytest.mark.parametrize("access", list(Access))
def test_a_view_is_of_its_level(access):
    view = toy_view(access, toy_images(5))
    assert type(view) is VIEWS[access]
    assert torch.equal(view.ids, torch.arange(5))
    if access >= Access.SAMPLES:
        assert view.samples.shape == (8, 1, 8, 8)
    if access >= Access.DENOISER:
        assert view.eps(toy_images(5), 100).shape == (5, 1, 8, 8) and view.queries == 1
        assert view.schedule.T == 1000


def test_an_attack_scores_on_a_toy_view_with_shadow_models_and_labels():
    images, labels = toy_images(6), torch.arange(6) % 2
    release = toy_release(condition="label")
    view = toy_view(Access.DENOISER, images, labels=labels, release=release, auxiliary_models=shadow_models(2))
    scores = Loss().score(view, images, labels)
    assert scores.shape == (6,)
    assert list(view.others) == ["shadow-0", "shadow-1"]
    first, second = view.others.values()
    assert first.is_member.tolist() == [True, False] * 3 == (~second.is_member).tolist()
    assert torch.equal(first.view.noised(100), view.noised(100))
    assert not torch.equal(first.view.eps(images, 100), view.eps(images, 100))


def test_the_memorising_release_is_the_minimiser_of_the_training_loss():
    """Against the posterior mean in float64, and against small changes of the network's answer."""
    known = toy_images(12)
    release = toy_release(memorised=known)
    noise = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    t = full_timesteps(400, known)
    x = add_noise(release.schedule, known, t, noise)
    alpha_bar = float(release.schedule.alpha_bar[400])
    flat, points = x.double().flatten(1).numpy(), known.double().flatten(1).numpy()
    expected = np.empty_like(flat)
    for row, one in enumerate(flat):
        logits = np.array([-((one - alpha_bar**0.5 * p) ** 2).sum() / (2 * (1 - alpha_bar)) for p in points])
        weights = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        expected[row] = (one - alpha_bar**0.5 * (weights @ points)) / (1 - alpha_bar) ** 0.5
    np.testing.assert_allclose(release.eps(x, t).flatten(1).numpy(), expected, rtol=1e-3, atol=1e-3)


def test_an_attack_tells_memorised_images_from_others():
    members, others = toy_images(24, "members"), toy_images(24, "others")
    release = toy_release(memorised=members)
    scores = [
        Loss().score(toy_view(Access.DENOISER, images, release=release), images, None).double().numpy()
        for images in (members, others)
    ]
    assert auc(*scores).value > 0.99
    nearest = torch.cdist(release.sample(10).flatten(1), members.flatten(1)).min(dim=1).values
    assert float(nearest.max()) < 0.1  # its samples are its images


@pytest.mark.parametrize("condition", ["none", "label", "attribute"])
def test_a_task_is_as_it_is_documented(condition):
    task = toy_task(condition, "label", toy_release(condition=condition))
    assert len(task.images) == len(task.heldout) == len(task.labels) == 24
    assert task.network.conditions == (0 if condition == "none" else 2)
    assert torch.equal(task.forget, task.labels == 0) and task.forget_label == 0
    assert toy_task(forget="subset").forget.tolist() == [n % 4 == 0 for n in range(24)]
    assert toy_task().forget is None


def test_a_defense_fits_and_releases_on_the_toy_task():
    task = defense_task(Plain())
    release = Plain().release(Plain().fit(task), task)
    assert torch.equal(release.sample(3), toy_release().sample(3))


def test_the_public_names_are_documented_and_typed():
    for name in leakbench.testing.__all__:
        thing = getattr(leakbench.testing, name)
        assert thing.__doc__, name
        if not isinstance(thing, type):
            assert "return" in typing.get_type_hints(thing), name

"""What a model makes of captions and images, on a network that knows one image for each caption."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from leakbench.api import Access, AuditSetting, Defense
from leakbench.attacks.membership.reconstruction import Reconstruction
from leakbench.models.diffusion import alpha_sigma
from leakbench.testing.toys import MemorisingNetwork, toy_images, toy_release, toy_view

IMAGES = toy_images(8)


class KnowsByCaption(nn.Module):
    """Denoises to the image of the label, of which there are four."""

    def __init__(self, release):
        super().__init__()
        self.spec, self.schedule = release.network.spec.model_copy(update={"conditions": 8}), release.schedule

    def forward(self, x, t, label=None):
        scale, sigma = alpha_sigma(self.schedule, t, x)
        return (x - scale * IMAGES[label % 4]) / sigma


def view_of(labels, network=KnowsByCaption):
    release = toy_release(condition="label")
    return toy_view(Access.API, IMAGES, release=replace(release, network=network(release)), labels=labels)


def cosines(a, b):
    """As numpy has it: the correlation of the pixels."""
    return [np.corrcoef(x.flatten(), y.flatten())[0, 1] for x, y in zip(a, b, strict=True)]


def test_the_image_that_belongs_to_a_memorised_caption_scores_one():
    labels = torch.arange(8)
    view = view_of(labels)
    scores = Reconstruction().score(view, IMAGES, labels)
    assert scores.numpy() == pytest.approx(cosines(IMAGES, IMAGES[labels % 4]), abs=1e-5)
    assert scores[:4].min() > 0.999 > 0.9 > scores[4:].max()
    assert view.queries == 3 * 5  # walks of five steps


def test_shuffled_captions_take_the_finding_away():
    labels = torch.arange(8).roll(1)
    assert Reconstruction().score(view_of(labels), IMAGES, labels)[1:4].max() < 0.9


def test_by_image_it_is_the_mean_likeness_of_variations():
    release = toy_release()
    network = MemorisingNetwork(IMAGES[:4], release.network.spec, release.schedule)
    view = toy_view(Access.API, IMAGES, release=replace(release, network=network))
    scores = Reconstruction(by="image", draws=2).score(view, IMAGES, None)
    wanted = [cosines(IMAGES, view.vary(IMAGES, 0.75, draw)) for draw in range(2)]
    assert scores.numpy() == pytest.approx(np.mean(wanted, axis=0), abs=1e-5)
    assert scores[:4].mean() > scores[4:].mean()


def test_each_draw_starts_from_noise_of_its_own_whatever_the_batch():
    release = toy_release()
    both = toy_view(Access.API, IMAGES, release=release)
    assert (both.sample_each(0) - both.sample_each(1)).abs().max() > 0.1
    assert both.queries == 2 * 5
    some = toy_view(Access.API, IMAGES[:3], release=release)
    torch.testing.assert_close(some.sample_each(1), both.sample_each(1)[:3], atol=1e-5, rtol=0)


class TextOnly(Defense):
    """Hands out a service that is told words alone."""

    name = "text_only"
    summary = "a service that takes no image"

    def requests(self):
        return frozenset()


def test_it_is_not_run_where_the_service_takes_no_image_or_no_caption():
    def skipped(attack, chain, condition):
        return attack.skip(AuditSetting(chain, condition, "nothing", timesteps=1000, images=100))

    plain, words = (), (TextOnly(),)
    assert skipped(Reconstruction(), words, "label") is None
    assert skipped(Reconstruction(by="image"), plain, "none") is None
    for attack, chain in ((Reconstruction(), plain), (Reconstruction(by="image"), words)):
        assert skipped(attack, chain, "none").severity == "not-applicable"
    assert skipped(Reconstruction(by="image"), words, "none").reason == "the service takes no image to vary"

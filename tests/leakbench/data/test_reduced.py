"""Large images are halved until 64 pixels are left; what learns from them asks for a few at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from leakbench.api.membership import Calibration, ImageSet
from leakbench.attacks.membership.monte_carlo import MonteCarlo
from leakbench.data import reduced
from leakbench.data.image_view import ImageView
from leakbench.data.side_overlap import find_overlap
from leakbench.metrics import reference_classifier
from leakbench.models.classifiers import SmallConvNet, blind_reader
from leakbench.runtime.device import Rng

SIDE, COUNT = 128, 60
STREAM = Rng("test", 0).of("reduced")


@pytest.fixture
def large():
    return np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture
def asked(monkeypatch):
    """Numbers of images that views were asked for at one time, where a block is to hold seven."""
    monkeypatch.setattr(reduced, "_ELEMENTS", 7 * 3 * SIDE**2)
    seen, take = [], ImageView.__getitem__

    def spy(self, index):
        found = take(self, index)
        seen.append(len(found))
        return found

    monkeypatch.setattr(ImageView, "__getitem__", spy)
    return seen


@pytest.mark.parametrize(("size", "left"), [((64, 64), (64, 64)), ((65, 40), (32, 20)), ((512, 300), (64, 37))])
def test_sides_after_halving(size, left):
    assert reduced.reduced(torch.zeros(1, 1, *size)).shape[-2:] == left


def test_pixels_are_means_as_pillow_has_them(large):
    ours = reduced.reduced(torch.from_numpy(large[:1]).permute(0, 3, 1, 2).float())[0].permute(1, 2, 0)
    theirs = np.asarray(Image.fromarray(large[0]).reduce(2), dtype=np.float32)
    assert float((ours - torch.from_numpy(theirs)).abs().max()) <= 0.5  # Pillow rounds


def test_small_images_stay_to_the_bit():
    images = torch.rand(9, 3, 64, 48)
    assert torch.equal(reduced.reduce_all(images), images) and reduced.reduce_large(images) is images


def test_the_blind_reader_holds_a_few_large_images_at_a_time(large, asked):
    large[: COUNT // 2] //= 2  # members are darker
    member = np.arange(COUNT) < COUNT // 2
    scores = blind_reader(ImageView(large), member).score(ImageView(large).subset(slice(20, 40))[:])
    assert scores[:10].min() > scores[10:].max() and max(asked[:-1]) <= 7


def test_the_reference_classifier_learns_from_reduced_images(large, asked, monkeypatch):
    shown = []

    def train(images, labels, classes, stream):
        shown.append(images[torch.arange(len(images))])
        return SmallConvNet(3, classes)

    monkeypatch.setattr(reference_classifier, "train_classifier", train)
    classifier = reference_classifier.train_reference_classifier(ImageView(large), None, STREAM)
    assert max(asked) <= 7 and classifier(ImageView(large)[:2]).shape == (2, 64)
    straight = reduced.reduce_all(ImageView(large))
    turned = [straight.rot90(turns, (2, 3)) for turns in range(4)]
    assert torch.equal(shown[0], torch.cat(turned))


def test_large_images_cost_the_small_classifier_no_more_than_small_ones():
    network, sizes = SmallConvNet(1, 2), []
    network.body.register_forward_pre_hook(lambda module, inputs: sizes.append(inputs[0].shape[-1]))
    for side in (32, 64, 128, 512):
        network(torch.zeros(1, 1, side, side))
    assert sizes == [32, 32, 32, 32]


def test_monte_carlo_holds_a_few_large_images_at_a_time(large, asked):
    public = ImageSet(ImageView(large), None, lambda question: torch.ones(COUNT))
    fitted = MonteCarlo().fit(Calibration(ImageView(large), None, public.ask, np.zeros(0), public, Rng("test", 0)))
    assert max(asked) <= 7 and fitted._axes.shape == (3 * 64 * 64, COUNT)


def test_the_search_for_overlap_holds_a_few_large_images_at_a_time(large, asked):
    large[30:33] = large[4:7, :, ::-1]
    found = find_overlap(ImageView(large), np.arange(15), np.arange(15, 35))
    assert found.nonmember.tolist() == [30, 31, 32] and found.member.tolist() == [4, 5, 6]
    assert set(found.kinds) == {"mirror"} and max(asked) <= 7

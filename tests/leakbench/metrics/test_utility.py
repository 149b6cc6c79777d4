"""Utility: a classifier of samples alone, on real digits in the place of samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from leakbench.metrics import utility as module
from leakbench.metrics.utility import utility
from leakbench.runtime.device import Rng
from leakbench.statistics import clopper_pearson

STREAM = Rng("digits", 0).of("utility")


@pytest.fixture(scope="module")
def digits():
    """Images in [-1, 1] and labels, in random order."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    pixels = torch.from_numpy(images[order]).float().reshape(-1, 1, 8, 8) / 8 - 1
    return pixels, torch.from_numpy(labels[order]).long()


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(module, "_STEPS", 30)


def test_labels_that_say_what_is_seen_are_worth_more_than_labels_that_do_not(digits, monkeypatch):
    images, labels = digits
    monkeypatch.setattr(module, "_STEPS", 100)
    train, rest = slice(0, 300), slice(300, 700)
    good = utility(images[train], labels[train], images[rest], labels[rest], 10, STREAM)
    shuffled = labels[train][torch.randperm(300, generator=torch.Generator().manual_seed(0))]
    bad = utility(images[train], shuffled, images[rest], labels[rest], 10, STREAM)
    assert good.value > 0.7 and bad.value < 0.35
    assert good == clopper_pearson(round(good.value * 400), 400)


def test_the_state_is_chosen_on_samples_and_never_on_real_images(digits, monkeypatch):
    """States are judged by one sample in twelve; those are not trained on, and held-out images are asked about once."""
    images, labels = digits
    asked, trained = [], []
    name, train = module._name, module.train_classifier
    monkeypatch.setattr(module, "_name", lambda network, shown: asked.append(shown) or name(network, shown))
    monkeypatch.setattr(module, "train_classifier", lambda shown, *more: trained.append(shown) or train(shown, *more))
    utility(images[:120], labels[:120], images[120:200], labels[120:200], 10, STREAM)
    kept = torch.arange(120) % 12 == 0
    assert len(trained) == 1 and torch.equal(trained[0], images[:120][~kept])
    assert [len(one) for one in asked] == [10] * 10 + [80]
    assert all(torch.equal(one, images[:120][kept]) for one in asked[:-1])


def test_the_best_of_the_states_is_returned(digits, monkeypatch):
    """The network is in the state that named the most right, the first of equal ones."""
    images, labels = digits
    seen, name = [], module._name

    def remember(network, shown):
        seen.append((name(network, shown), [p.clone() for p in network.parameters()]))
        return seen[-1][0]

    monkeypatch.setattr(module, "_name", remember)
    network = module._choose(images[:120], labels[:120], 10, STREAM)
    right = [int((named == labels[:120:12]).sum()) for named, _ in seen]
    best = seen[int(np.argmax(right))][1]
    assert all(torch.equal(a, b) for a, b in zip(best, network.parameters(), strict=True))


def test_accuracy_counts_people_where_images_are_of_them(digits, monkeypatch):
    images, labels = digits
    monkeypatch.setattr(module, "_STEPS", 20)
    people = np.repeat(np.arange(40), 10)
    sides = images[:60], labels[:60], images[60:460], labels[60:460]
    found, alone, again = (utility(*sides, 10, STREAM, groups) for groups in (people, None, None))
    assert (
        alone == again
        and found.value == alone.value
        and found.groups == 40
        and found.high - found.low >= alone.high - alone.low
    )


def test_a_classifier_needs_images_to_choose_by(digits):
    images, labels = digits
    with pytest.raises(ValueError, match="24 images at the least, not 23"):
        utility(images[:23], labels[:23], images, labels, 10, STREAM)

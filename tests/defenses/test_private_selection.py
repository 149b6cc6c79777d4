"""Private selection: the clusters, the votes that choose among them, and what is claimed with dp_sgd on top."""

from dataclasses import replace

import pytest
import torch

from leakbench.data.image_view import ImageView
from leakbench.defenses._accounting import spent
from leakbench.defenses._gaussian import gaussian_epsilon
from leakbench.defenses.dp_sgd import DPSGD
from leakbench.defenses.private_selection import PrivateSelection, k_means
from leakbench.testing import toy_images, toy_rng, toy_task

SHORT = {"steps": 3, "batch": 4}


@pytest.fixture(scope="module")
def task():
    """Public images that are the private ones and noise, and their mirror images are of no use."""
    small = toy_task("label")
    near = small.images[:] + 0.05 * toy_rng().of("near").normal(torch.arange(24), (1, 8, 8))
    return replace(small, heldout=ImageView(near))


def selected(task, **given):
    """The public images that a training would see, as numbers of the images and, from 24 on, of their mirror images."""
    defense = PrivateSelection(**SHORT, flip=True, **given)
    public = torch.cat([task.heldout[:], task.heldout[:].flip(-1)])
    return defense._selected(task, public, task.heldout_conditions.repeat(2), defense.noise_multiplier or 0.0)


def test_clusters_are_those_of_separate_clouds():
    centres = 5 * torch.eye(4, 16)
    points = (centres[:, None] + toy_rng().of("cloud").normal(torch.arange(4), (30, 16)) / 5).flatten(0, 1)
    found, cluster = k_means(points, 4, toy_rng().of("start"))
    if len(set(cluster.view(4, 30)[:, 0].tolist())) == 4:  # four starts in four clouds
        assert bool((cluster.view(4, 30) == cluster.view(4, 30)[:, :1]).all())
    means = torch.stack([points[cluster == one].mean(dim=0) for one in range(4)])
    assert torch.allclose(found, means, atol=1e-4)  # a fixed point of Lloyd's rounds
    assert len(k_means(points[:3], 9, toy_rng().of("start"))[0]) == 3


def test_votes_keep_what_is_like_the_private_images(task):
    kept = selected(task, clusters=24, share=0.5, epsilon="inf")  # each image is a cluster of its own
    assert bool((kept < 24).all())
    assert sorted(kept.tolist()) == kept.tolist() and len(set(kept.tolist())) == len(kept)


def test_endless_noise_hears_no_vote(task):
    other = replace(task, images=toy_images(24, "others"))
    assert torch.equal(selected(task, noise_multiplier=1e9), selected(other, noise_multiplier=1e9))


def test_a_label_is_chosen_for_by_its_own_images(task):
    kept = selected(task, clusters=1, share=1.0, epsilon="inf")
    assert len(kept) == 48  # a label's one cluster is all it has
    empty = replace(task, labels=torch.zeros(24, dtype=torch.int64))
    assert set((selected(empty, clusters=3, share=0.3, epsilon="inf") % 2).tolist()) == {0, 1}


def test_it_trains_on_the_selected_alone_and_claims_its_votes(task):
    defense = PrivateSelection(**SHORT, clusters=4, share=0.5, noise_multiplier=2.0)
    made = defense.fit(task)
    assert 0 < made.info["images_trained_on"] < 24
    found = defense.release(made, task).guarantee
    assert found.history == ((2.0, 1.0, 1),) and found.epsilon == gaussian_epsilon(0.5, 24**-1.1)
    whole = PrivateSelection(**SHORT, share=1.0, epsilon="inf")
    assert whole.fit(task).info["images_trained_on"] == 24
    assert whole.release(whole.fit(task), task).guarantee.epsilon is None


def test_dp_sgd_on_it_claims_both_together(task, remembered_divergences):
    first = PrivateSelection(**SHORT, noise_multiplier=3.0)
    above = replace(task, base=first.release(first.fit(task), task))
    second = DPSGD(steps=3, batch=8, noise_multiplicity=1, noise_multiplier=2.0)
    found = second.release(second.fit(above), above).guarantee
    assert found.history == ((3.0, 1.0, 1), (2.0, 8 / 24, 3))
    assert found.epsilon == spent(found.history, found.delta).epsilon > first.fit(task).info["guarantee"]["epsilon"]

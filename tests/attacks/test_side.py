"""SIDE: at scale zero it is plain sampling; its guidance is the gradient and leads where it should; clusters."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from leakbench.api import Access, Release
from leakbench.api.answer_cache import QueriedRelease
from leakbench.api.replication import SampleSet
from leakbench.attacks.replication._clusters import cluster, towards, train_timed
from leakbench.attacks.replication.side import SIDE
from leakbench.measurement.extraction import extract_candidates
from leakbench.measurement.query_engine import AttackTarget
from leakbench.models.diffusion import Schedule, add_noise
from leakbench.models.networks import NetworkSpec, build
from leakbench.runtime.device import Rng

SHAPE, STREAMS = (1, 8, 8), Rng("test", 0)
FEW = SIDE(clusters=4, steps=15, cohesion=0.0)


def flat(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1)


def release(batch: int = 32, conditions: int = 0, clip: bool = False) -> Release:
    spec = NetworkSpec(kind="mlp", shape=SHAPE, width=32, blocks=1, conditions=conditions)
    network = build(spec, STREAMS.of("weights")).eval().requires_grad_(False)
    return Release(network, Schedule(steps=6, clip=clip), STREAMS, SHAPE, torch.device("cpu"), batch=batch)


def target(batch: int = 32, conditions: int = 0, clip: bool = False) -> AttackTarget:
    found = release(batch, conditions, clip)
    return AttackTarget(QueriedRelease(found, partial(found.sample, 60)), STREAMS)


def of_four(count: int) -> tuple[torch.Tensor, np.ndarray]:
    """Images around four patterns, and which one each is of."""
    patterns = torch.tanh(2 * STREAMS.of("patterns").normal(torch.arange(4), SHAPE))
    of = np.arange(count) % 4
    return patterns[of] + 0.1 * STREAMS.of("jitter").normal(torch.arange(count), SHAPE), of


@pytest.mark.parametrize(("conditions", "clip"), [(0, False), (3, False), (0, True)])
def test_at_scale_zero_it_hands_in_the_ordinary_samples_bit_for_bit(conditions, clip, hurried):
    samples = release(conditions=conditions, clip=clip).sample(50)
    at_zero = FEW.model_copy(update={"scale": 0.0})
    found = extract_candidates(target(conditions=conditions, clip=clip), at_zero, samples, flat)
    assert torch.equal(found.images, samples) and found.queries == 6
    assert found.attack.facts()["clusters_kept"] >= 2  # there was guidance, and it weighed nothing
    guided = extract_candidates(target(conditions=conditions, clip=clip), FEW, samples, flat)
    assert not torch.allclose(guided.images, samples, atol=1e-3)


def test_batches_do_not_matter(hurried):
    samples = release().sample(50)
    whole = extract_candidates(target(), FEW, samples, flat).images
    for size in (1, 7):
        torch.testing.assert_close(
            extract_candidates(target(size), FEW, samples, flat).images, whole, rtol=1e-3, atol=1e-4
        )


def test_without_a_coherent_cluster_the_samples_are_handed_in_and_the_record_says_so():
    samples = release().sample(50)
    found = extract_candidates(target(), SIDE(clusters=4, cohesion=1.0), samples, flat)
    assert torch.equal(found.images, samples) and found.attack.facts() == {"clusters": 4, "clusters_kept": 0}


def test_clusters_are_found_and_incoherent_and_tiny_ones_dropped():
    images, of = of_four(80)
    noise = STREAMS.of("scattered").normal(torch.arange(20), SHAPE)
    features = torch.cat([images, 3 * noise]).flatten(1).double().numpy()
    found = cluster(features, 8, 0.5, STREAMS.of("k-means"))
    assert found.made == 8 and found.kept == 4
    for pattern in range(4):
        numbers = found.of[:80][of == pattern]
        assert numbers[0] >= 0 and bool((numbers == numbers[0]).all())
    assert len(set(found.of[:80])) == 4 and bool((found.of[80:] == -1).all())


def test_few_or_equal_samples_make_fewer_clusters():
    images, _ = of_four(30)
    assert cluster(images.flatten(1).double().numpy(), 100, 0.5, STREAMS.of("k-means")).made == 3
    assert cluster(np.ones((50, 4)), 5, 0.5, STREAMS.of("k-means")).made == 1


@pytest.fixture(scope="module")
def classifier():
    images, of = of_four(120)
    return train_timed(images, torch.from_numpy(of), Schedule(), STREAMS.of("classifier"), 120)


def test_the_classifier_knows_noised_images_and_its_gradient_is_by_finite_differences(classifier):
    images, of = of_four(400)
    fresh, wanted = images[200:], torch.from_numpy(of[200:])
    t = torch.full((200,), 200)
    x_t = add_noise(Schedule(), fresh, t, STREAMS.of("noise").normal(torch.arange(200), SHAPE))
    assert (classifier(x_t, t).argmax(dim=1) == wanted).float().mean() > 0.9
    gradient = towards(classifier, x_t[:3], 200, wanted[:3])
    wide, direction = classifier.double(), STREAMS.of("direction").normal(torch.arange(3), SHAPE).double()

    def logp(step: float) -> torch.Tensor:
        chances = wide(x_t[:3].double() + step * direction, t[:3]).log_softmax(dim=1)
        return chances.gather(1, wanted[:3, None])[:, 0]

    slope = (logp(1e-5) - logp(-1e-5)) / 2e-5
    torch.testing.assert_close((gradient.double() * direction).flatten(1).sum(dim=1), slope, rtol=1e-3, atol=1e-5)
    classifier.float()


class Gaussian(Release):
    """The exact answer for images that are standard normal: then guidance alone decides where a walk ends."""

    def eps(self, x, t, label=None):
        return x * (1 - torch.from_numpy(self.schedule.alpha_bar)[t]).sqrt().float()[:, None, None, None]


def test_guided_samples_land_in_the_cluster_that_was_drawn_for_them():
    network = release().network
    model = Gaussian(network, Schedule(steps=10), STREAMS, SHAPE, torch.device("cpu"), batch=32)
    images, _ = of_four(120)
    attack = SIDE(clusters=4, steps=120).fit(SampleSet(images, None, model.schedule, flat, STREAMS))
    assert attack.facts() == {"clusters": 4, "clusters_kept": 4}
    centres = torch.stack([images[torch.from_numpy(attack._clusters.of == k)].mean(dim=0) for k in range(4)])
    ids = torch.arange(120)
    wanted = STREAMS.of("attacking", "own", "side", "cluster").integers(ids, 4)

    def hits(scale: float) -> float:
        one = attack.model_copy(update={"scale": scale})
        found = AttackTarget.of(model, STREAMS).ask(one.candidates, one, False, images_of(images))
        return float((torch.cdist(flat(found), flat(centres)).argmin(dim=1) == wanted).float().mean())

    assert hits(0.0) < 0.45 and hits(8.0) > 0.9


def images_of(images: torch.Tensor):
    from leakbench.data.image_batch import Images

    return Images(images, torch.arange(len(images)), None)


def test_it_needs_the_denoiser_and_no_more():
    assert SIDE.access is Access.DENOISER and SIDE().generates and SIDE().space("inception") == "pixels"

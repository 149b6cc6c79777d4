"""Inversion: seeds by closed form, PSNR and densities by other libraries; the label's embedding by a loop."""

import copy
import math
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchmetrics.image import PeakSignalNoiseRatio

from leakbench.api import AuditSetting
from leakbench.attacks.unlearning._curves import find_label_embedding
from leakbench.attacks.unlearning._seeds import climb, found_seed, log_density, psnr, walked_down
from leakbench.attacks.unlearning.inversion import Inversion
from leakbench.metrics.evaluate.unlearning import evaluate_unlearning
from leakbench.models import networks
from leakbench.models.diffusion import Schedule, ddim_step, denoise
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.device import RngStream
from leakbench.runtime.errors import UsageError

SPREAD = 0.4  # of Gaussian images, whose best denoiser is known


def best(alpha_bar):
    """E[noise | x_t] = best(alpha_bar) x_t for images N(0, SPREAD^2)."""
    return math.sqrt(1 - alpha_bar) / (alpha_bar * SPREAD**2 + 1 - alpha_bar)


class Gaussian(torch.nn.Module):
    """That denoiser."""

    def __init__(self, spec):
        super().__init__()
        self.spec = spec

    def forward(self, x, t, label=None):
        alpha_bar = Schedule().alpha_bar[int(t[0])]
        return best(alpha_bar) * x


@pytest.fixture
def gaussian(world):
    return replace(world.before, network=Gaussian(world.before.network.spec))


@pytest.mark.parametrize("clip", [False, True])
def test_the_way_down_is_the_samplers(clip):
    x = 2 * torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    schedule = Schedule(steps=6, clip=clip)
    view = SimpleNamespace(schedule=schedule, eps=lambda x, t: torch.tanh(3 * x + t / 1000))
    sampled = denoise(schedule, lambda x, t, label: view.eps(x, int(t[0])), x)
    other = denoise(replace(schedule, clip=not clip), lambda x, t, label: view.eps(x, int(t[0])), x)
    torch.testing.assert_close(walked_down(view, x), sampled)
    assert (sampled - other).abs().max() > 0.1


def test_a_climb_undoes_a_move():
    schedule = Schedule()
    x, eps = torch.randn(2, 5, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for s, u in ((975, 950), (25, 0), (0, -1), (700, 100)):
        torch.testing.assert_close(ddim_step(schedule, climb(schedule, x, u, s, eps), s, u, eps), x)


def test_the_seed_is_the_closed_form_of_a_linear_walk(world, gaussian, ground):
    """Each step down multiplies x by a number, so the seed is the image over their product."""
    attack, schedule = Inversion(), gaussian.schedule
    walk, factor = [*schedule.timesteps(), -1], 1.0
    for s, u in pairwise(walk):
        ours, theirs = schedule.alpha_bar[s], schedule.alpha_bar[u] if u >= 0 else 1.0
        own = best(ours)
        factor *= math.sqrt(theirs / ours) * (1 - math.sqrt(1 - ours) * own) + math.sqrt(1 - theirs) * own
    given = ground(attack, gaussian)
    seed = given.model.ask(lambda view, images, labels: found_seed(view, images, 60), world.forget)
    torch.testing.assert_close(seed, world.forget.images / factor, rtol=1e-4, atol=1e-5)
    back = given.model.ask(lambda view, images, labels: walked_down(view, found_seed(view, images, 60)), world.forget)
    torch.testing.assert_close(back, world.forget.images, rtol=0, atol=1e-4)


def test_plain_inversion_takes_the_answer_at_the_lower_step(world, gaussian, ground):
    given, schedule = ground(Inversion(), gaussian), gaussian.schedule
    factor, u = 1.0, -1
    for s in reversed(schedule.timesteps()):
        ours, theirs = schedule.alpha_bar[u] if u >= 0 else 1.0, schedule.alpha_bar[s]
        own = best(schedule.alpha_bar[max(u, 0)])
        factor *= math.sqrt(theirs / ours) * (1 - math.sqrt(1 - ours) * own) + math.sqrt(1 - theirs) * own
        u = s
    seed = given.model.ask(lambda view, images, labels: found_seed(view, images, 0), world.forget)
    torch.testing.assert_close(seed, world.forget.images * factor, rtol=1e-4, atol=1e-5)


def test_psnr_and_density_are_those_of_other_libraries(world):
    images, others = world.forget.images, world.unseen.images
    for i, value in enumerate(psnr(images, others)):
        other = PeakSignalNoiseRatio(data_range=(-1.0, 1.0))(others[i], images[i])
        assert float(value) == pytest.approx(float(other), rel=1e-5)
    wanted = torch.distributions.Normal(0.0, 1.0).log_prob(images).flatten(1).mean(dim=1)
    torch.testing.assert_close(log_density(images), wanted)
    assert psnr(images, images).tolist() == pytest.approx([120.0] * len(images))


@pytest.mark.parametrize("renoise", [0, 2])
def test_scores_are_those_of_one_image_at_a_time(world, ground, renoise):
    attack = Inversion(renoise=renoise)
    found = attack.run(ground(attack, world.before)).scores
    schedule, network = world.before.schedule, world.before.network
    for i in (0, 7):
        image, label = world.forget.images[i : i + 1], world.forget.labels[i : i + 1]

        def eps(x, t, label=label):
            with torch.no_grad():
                return network(x, torch.tensor([t]), label)

        x, u = image, -1
        for s in reversed(schedule.timesteps()):
            ours, theirs = schedule.alpha_bar[u] if u >= 0 else 1.0, schedule.alpha_bar[s]
            answer = eps(x, max(u, 0))
            for round_ in range(renoise + 1):
                clean = (x - float((1 - ours) ** 0.5) * answer) / float(ours**0.5)
                y = float(theirs**0.5) * clean + float((1 - theirs) ** 0.5) * answer
                answer = eps(y, s) if round_ < renoise else answer
            x, u = y, s
        density = float(torch.distributions.Normal(0.0, 1.0).log_prob(x).mean())
        assert found["likelihood"].model.forget[i] == pytest.approx(density, rel=1e-4)
        for s, u in pairwise([*schedule.timesteps(), -1]):
            x = ddim_step(schedule, x, s, u, eps(x, s))
        error = float((x.clamp(-1, 1) - image).square().mean())
        assert found["psnr"].model.forget[i] == pytest.approx(10 * math.log10(4 / error), rel=1e-3)


def test_seeds_of_what_was_known_are_the_more_ordinary_ones(world, ground):
    attack = Inversion()
    found = evaluate_unlearning(attack.run(ground(attack, world.before)))
    value = {one.name: one.value for one in found.metrics}
    assert value["likelihood_auc"] > 0.95 and value["likelihood_auc_excess"] > 0.1
    assert value["likelihood_distance_ratio"] < value["likelihood_distance_ratio_retrained"]


def test_the_null_has_no_excess_and_as_many_retained_as_forget_images_are_inverted(world, ground):
    attack = Inversion()
    evidence = attack.run(ground(attack, world.retrained))
    for contrast in evidence.scores.values():
        assert np.array_equal(contrast.model.forget, contrast.retrained.forget)
        assert len(contrast.model.retained) == len(contrast.model.forget) == 16
    assert evidence.scores["psnr"].standard is None
    true = evidence.scores["likelihood"].standard
    spread = true.std() * math.sqrt(36)  # the mean of 36 terms x^2 / 2, each of variance 1/2
    assert true.mean() == pytest.approx(-0.5 * (1 + math.log(2 * math.pi)), abs=0.02)
    assert spread == pytest.approx(math.sqrt(0.5), rel=0.1)


def soft(images):
    """A classifier that moves with every pixel."""
    return images.flatten(1)[:, :30].unflatten(1, (3, 10)).sum(dim=2).softmax(dim=1)


# By the label -------------------------------------------------------------------------------------------------------


def test_no_iterations_give_the_plain_result(world, ground):
    attack = Inversion(by="label", steps=0, samples=12)
    curve = attack.run(ground(attack, world.before)).curves["inversion"]
    label = torch.full((12,), world.label)
    for found, release in ((curve.model, world.before), (curve.retrained, world.retrained)):
        wanted = world.reference_classifier(release.sample(12, label, first=50))[:, world.label]
        np.testing.assert_allclose(found, wanted[None], atol=1e-6)


def test_the_vector_is_that_of_a_loop_over_it_alone(world, ground):
    """Adam on the embedding vector as a free variable, everything else a constant."""
    attack = Inversion(by="label", steps=2, batch=8, samples=12, images=16, lr=0.05)
    found = attack.run(ground(attack, world.retrained, reference_classifier=soft)).curves["inversion"].model
    ids = world.forget.ids
    order = world.streams.of("attacking", "own", "few to invert").uniform(ids).argsort()
    images, stream = world.forget.take(order), world.streams.of("attacking", "own", "inversion")
    network = copy.deepcopy(world.retrained.network)
    vector = network.label.weight[world.label].clone().requires_grad_(True)
    adam = torch.optim.Adam([vector])
    alpha_bar = torch.from_numpy(Schedule().alpha_bar)
    table = network.label.weight.detach().clone()
    del network.label
    network.label = lambda label: torch.where((label == world.label)[:, None], vector, table[label])
    for step in range(2):
        number = torch.tensor([step])
        index = stream.integers(number, 16, (8,), draw=0)[0]
        t = stream.integers(number, 1000, (8,), draw=1)[0]
        noise = stream.normal(number, (8, *world.before.shape), draw=2)[0]
        scale = alpha_bar[t].view(-1, 1, 1, 1)
        x = (scale.sqrt() * images.images[index] + (1 - scale).sqrt() * noise).float()
        adam.param_groups[0]["lr"] = 0.05 * 0.5 * (1 + math.cos(math.pi * step / 2))
        adam.zero_grad()
        (network(x, t, images.labels[index]) - noise).square().mean().backward()
        torch.nn.utils.clip_grad_norm_([vector], 1.0)
        adam.step()
        with torch.no_grad():
            samples = replace(world.retrained, network=network).sample(12, torch.full((12,), world.label), first=50)
        np.testing.assert_allclose(found[step + 1], soft(samples)[:, world.label], atol=1e-5)
    assert np.abs(found[2] - found[0]).max() > 1e-3


def test_the_released_embedding_stays(world, ground):
    before = world.before.network.label.weight.clone()
    attack = Inversion(by="label", steps=2, samples=4)
    attack.run(ground(attack, world.before))
    assert torch.equal(before, world.before.network.label.weight)


def test_the_embedding_is_found_in_both_networks():
    for kind, shape in (("mlp", (1, 8, 8)), ("unet", (1, 16, 16))):
        spec = NetworkSpec(kind=kind, shape=shape, width=8, blocks=1, conditions=3)
        network = networks.build(spec, RngStream((0, 1)))
        x, t = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)), torch.tensor([5, 5])
        with torch.no_grad():
            first = network(x, t, torch.tensor([0, 1]))
            find_label_embedding(network, 3).weight[1] += 1.0
            second = network(x, t, torch.tensor([0, 1]))
        assert torch.equal(first[0], second[0]) and not torch.equal(first[1], second[1])


def test_a_network_without_one_is_one_line():
    network = networks.build(NetworkSpec(kind="mlp", shape=(1, 4, 4), width=8, blocks=1), RngStream((0, 1)))
    with pytest.raises(UsageError, match="has 0 embeddings of 3 labels") as error:
        find_label_embedding(network, 3)
    assert "\n" not in str(error.value)


def test_where_it_applies():
    def applies(by, condition, forget):
        return Inversion(by=by).skip(AuditSetting((), condition, forget, 1000, 10)) is None

    assert (
        applies("noise", "none", "subset") and applies("noise", "label", "label") and applies("label", "label", "label")
    )
    assert not any(
        applies("label", *place) for place in (("label", "subset"), ("none", "label"), ("attribute", "label"))
    )

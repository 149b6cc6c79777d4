"""Relearning: at no steps the plain forget probability, then a loop's; a planted leak needs none, the null some."""

import copy
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from leakbench.api import AuditSetting, Release
from leakbench.attacks.unlearning._curves import Effort, brought_back
from leakbench.attacks.unlearning.relearning import Relearning
from leakbench.metrics.evaluate.unlearning import evaluate_unlearning
from leakbench.models.training.loop import Recipe

SMALL = {"steps": 5, "batch": 8, "samples": 12, "images": 3}


def soft(images):
    """A classifier that moves with every pixel: in these tests a sharp one would hardly tell two samples apart."""
    return images.flatten(1)[:, :30].unflatten(1, (3, 10)).sum(dim=2).softmax(dim=1)


def plain_probability(world, network, count, first):
    """P(label) of the samples numbered first .. of a network, by the plain walk."""
    release = Release(network, world.before.schedule, world.streams, world.before.shape, torch.device("cpu"), batch=5)
    return soft(release.sample(count, torch.full((count,), world.label), first=first))[:, world.label]


def by_hand(world, network, images, stream, recipe):
    """P(label) after 0, 1, 2, .. steps of Adam, its rate on a cosine to zero, gradients clipped to norm 1."""
    network = copy.deepcopy(network).requires_grad_(True)
    adam = torch.optim.Adam(network.parameters())
    found = [plain_probability(world, network, 12, 50)]
    alpha_bar = torch.from_numpy(np.cumprod(1.0 - np.linspace(1e-4, 0.02, 1000)))
    for step in range(recipe.steps):
        number = torch.tensor([step])
        index = stream.integers(number, len(images.ids), (recipe.batch,), draw=0)[0]
        t = stream.integers(number, 1000, (recipe.batch,), draw=1)[0]
        noise = stream.normal(number, (recipe.batch, *world.before.shape), draw=2)[0]
        scale = alpha_bar[t].view(-1, 1, 1, 1)
        x = (scale.sqrt() * images.images[index] + (1 - scale).sqrt() * noise).float()
        adam.param_groups[0]["lr"] = recipe.lr * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        adam.zero_grad()
        (network(x, t, images.labels[index]) - noise).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        adam.step()
        found.append(plain_probability(world, network, 12, 50))
    return torch.stack(found).numpy()


def test_at_no_steps_it_is_the_plain_forget_probability(world, ground):
    attack = Relearning(**SMALL | {"steps": 0})
    curves = attack.run(ground(attack, world.before, reference_classifier=soft)).curves
    for curve in curves.values():
        assert curve.steps.tolist() == [0] and curve.model.shape == curve.retrained.shape == (1, 12)
        for found, release in ((curve.model, world.before), (curve.retrained, world.retrained)):
            np.testing.assert_allclose(found[0], plain_probability(world, release.network, 12, 50), atol=1e-6)
        np.testing.assert_allclose(curve.real, soft(world.unseen.images)[:, world.label])


@pytest.mark.parametrize("which", ["forget", "retained"])
def test_its_steps_are_those_of_a_loop(world, ground, which):
    images, recipe = getattr(world, which), Recipe(4, 8, 2e-3, ema=0.0)
    stream = world.streams.of("a test's own")
    given = ground(Relearning(), world.retrained, reference_classifier=soft)
    steps, found = brought_back(given, world.retrained, Effort(images, recipe, stream, 12))
    wanted = by_hand(world, world.retrained.network, images, stream, recipe)
    assert steps.tolist() == [0, 1, 2, 4]
    np.testing.assert_allclose(found, wanted[[0, 1, 2, 4]], atol=1e-5)
    assert np.abs(wanted[4] - wanted[0]).max() > 1e-3  # the loop did move it


@pytest.mark.parametrize(("steps", "looks"), [(0, [0]), (1, [0, 1]), (5, [0, 1, 2, 4, 5]), (8, [0, 1, 2, 4, 8])])
def test_it_looks_at_doubled_steps_and_at_the_end(world, steps, looks):
    effort = Effort(world.forget, Recipe(steps, 8), world.streams.of("none"), 2)
    assert effort.steps == looks


def test_what_was_not_forgotten_needs_no_steps_and_the_retrained_model_some(world, ground):
    attack = Relearning(steps=64, batch=16, samples=32, lr=4e-3)
    found = evaluate_unlearning(attack.run(ground(attack, world.before)))
    value = {one.name: one.value for one in found.metrics}
    assert value["relearn_steps"] == value["relearn_retained_steps"] == 0
    assert value["relearn_steps_retrained"] > 0  # it can be taught
    assert value["relearn_retained_steps_retrained"] is None and "not-brought-back" in found.flags
    assert value["relearn_excess"] > 0.1 and value["relearn_retained_excess"] > 0.5
    assert found.info["relearn_budget"] == 64


def test_a_model_is_its_own_null_and_twice_gives_the_same_bits(world, ground):
    attack = Relearning(**SMALL)
    given = ground(attack, world.retrained)
    first, again = attack.run(given), attack.run(given)
    for name, curve in first.curves.items():
        assert np.array_equal(curve.model, curve.retrained)
        assert np.array_equal(curve.model, again.curves[name].model)


def test_the_release_keeps_its_weights(world, ground):
    before = copy.deepcopy(world.before.network.state_dict())
    attack = Relearning(**SMALL)
    attack.run(ground(attack, world.before))
    after = world.before.network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(parameter.requires_grad for parameter in world.before.network.parameters())


def test_the_few_images_do_not_depend_on_their_order(world, ground):
    attack = Relearning(**SMALL)
    order = torch.arange(len(world.forget.ids) - 1, -1, -1)
    first = attack.run(ground(attack, world.retrained)).curves["relearn"]
    turned = attack.run(ground(attack, world.retrained, forget=world.forget.take(order))).curves["relearn"]
    np.testing.assert_allclose(turned.model, first.model, atol=1e-6)


def test_no_more_images_are_used_than_there_are(world, ground):
    attacks = [Relearning(**SMALL | {"images": count}) for count in (16, 17, 3)]
    all_, more, few = (
        one.run(ground(one, world.retrained, reference_classifier=soft)).curves["relearn"].model for one in attacks
    )
    assert np.array_equal(all_, more) and not np.allclose(all_, few, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"images": 0}, {"batch": 0}, {"lr": 0.0}, {"samples": 1}])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        Relearning(**wrong)


def test_it_applies_where_a_label_is_asked_for():
    def applies(condition, forget):
        return Relearning().skip(AuditSetting((), condition, forget, 1000, 10)) is None

    assert applies("label", "label")
    assert not any(applies(*place) for place in (("label", "subset"), ("none", "label"), ("attribute", "label")))

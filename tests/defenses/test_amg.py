"""AMG against loops and autograd in float64: the relative distance, its gradient, the gate, what guidance does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from leakbench.api import AuditSetting, Release
from leakbench.defenses import amg
from leakbench.defenses.amg import AMG, Crowd, thresholds
from leakbench.defenses.attribute_switching import AttributeSwitching
from leakbench.defenses.baseline import Baseline
from leakbench.defenses.cpsample import CPSample
from leakbench.defenses.reject_resample import RejectResample
from leakbench.models.diffusion import Schedule, add_noise, ddim_step, full_timesteps
from leakbench.runtime.device import Rng
from leakbench.runtime.errors import UsageError

STREAMS = Rng("test", 0)
ALPHA_BAR = torch.from_numpy(Schedule().alpha_bar)


def states(task, t: int, noise: str = "states") -> torch.Tensor:
    """Members and held-out images, noised to t."""
    x0 = torch.cat([task.images, task.heldout[:40]])
    return add_noise(task.schedule, x0, full_timesteps(t, x0), STREAMS.of(noise, t).normal(torch.arange(80), (1, 8, 8)))


def relative(x: torch.Tensor, crowd: Crowd, t: int) -> torch.Tensor:
    """nL2 of one state (D,) by a loop, float64, differentiable in the least distance alone."""
    distances = []
    for image, noise in zip(crowd.images.double(), crowd.noise.double(), strict=True):
        noised = ALPHA_BAR[t].sqrt() * image + (1 - ALPHA_BAR[t]).sqrt() * noise
        distances.append((x - noised).square().mean().sqrt() / 2)
    fifty = torch.stack(distances).sort().values[:50]
    return fifty[0] / (0.5 * fifty.mean().detach())


@pytest.fixture(scope="module")
def guide(task):
    """guide(base=None, **parameters): a guided release."""

    def made(base: Release | None = None, **parameters):
        changed = replace(task, base=base or task.base)
        return AMG(**parameters).release(AMG().fit(changed), changed)

    return made


@pytest.fixture(scope="module")
def conditional(task):
    """The task with an attribute and a network conditioned on it, and its release."""
    attribute = torch.arange(40) % 2
    spec = task.network.model_copy(update={"conditions": 2})
    own = replace(task, attribute=attribute, condition="attribute", network=spec, base=None)
    defense = Baseline(steps=150, batch=32, lr=4e-3)
    return replace(own, base=defense.release(defense.fit(own), own))


# The formula ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", [7, 100])  # fewer than fifty, and more
def test_the_relative_distance_and_its_gradient_are_those_of_a_loop(members, task):
    crowd = Crowd.of(task, task.heldout[:members])
    for t in (0, 30, 300, 999):
        x = states(task, t)[35:45]
        found, away = crowd.likeness(task.schedule, x, full_timesteps(t, x))
        for row, (nl2, gradient) in enumerate(zip(found, away, strict=True)):
            state = x[row].flatten().double().requires_grad_(True)
            expected = relative(state, crowd, t)
            (slope,) = torch.autograd.grad(expected, state)
            assert float(nl2) == pytest.approx(float(expected.detach()), rel=1e-5)
            torch.testing.assert_close(gradient.flatten().double(), 64 * slope, rtol=1e-4, atol=1e-5)


def test_every_row_has_its_own_timestep_and_no_batch_mates(task, monkeypatch):
    crowd, x = Crowd.of(task, task.images), states(task, 200)
    t = torch.arange(80) * 12
    nl2, away = crowd.likeness(task.schedule, x, t)
    for row in (0, 11, 79):
        alone = crowd.likeness(task.schedule, x[row : row + 1], t[row : row + 1])
        torch.testing.assert_close(alone[0][0], nl2[row], rtol=1e-5, atol=0)
        torch.testing.assert_close(alone[1][0], away[row], rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(amg, "_ELEMENTS", 80 * 7)  # seven training images at a time, one state at a time
    chunked = crowd.likeness(task.schedule, x, t)
    torch.testing.assert_close(chunked, (nl2, away), rtol=1e-5, atol=1e-5)


def test_thresholds_are_the_published_curve():
    """1.5 at the clean end, 1.949 at index 249 of a walk of 250 steps (reference)."""
    found = thresholds(1000, torch.device("cpu"))
    assert float(found[0]) == 1.5 and float(found[996]) == pytest.approx(1.949, abs=5e-4)
    index = np.arange(250)
    np.testing.assert_allclose(found[::4], 1.95 - 0.45 * np.exp(-0.025 * index), rtol=1e-6)
    assert torch.equal(thresholds(250, torch.device("cpu")), found[::4])


def test_scale_26_is_the_published_constant_on_3x32x32(task):
    """mean += Sigma 80,000 (thr - nL2) grad nL2 is eps -= sqrt(1 - abar) 80,000 (thr - nL2) grad nL2."""
    shape, t = (3, 32, 32), 60
    images = STREAMS.of("colour").uniform(torch.arange(5), shape).float() * 2 - 1
    large = replace(task, images=images, network=task.network.model_copy(update={"shape": shape}))
    base = replace(large, base=None).release(lambda x, t, label: torch.zeros_like(x))
    release = AMG(scale=80_000 / 3072).release(AMG().fit(large), replace(large, base=base))
    x = add_noise(
        task.schedule, images[:1], full_timesteps(t, images[:1]), STREAMS.of("one").normal(torch.arange(1), shape)
    )
    state = x.flatten().double().requires_grad_(True)
    nl2 = relative(state, release.crowd, t)
    (slope,) = torch.autograd.grad(nl2, state)
    short = 1.95 - 0.45 * np.exp(-0.025 * t / 4) - float(nl2.detach())
    assert short > 0
    expected = -(1 - ALPHA_BAR[t]).sqrt() * 80_000 * short * slope
    torch.testing.assert_close(release.eps(x, full_timesteps(t, x)).flatten().double(), expected, rtol=2e-4, atol=1e-4)


def test_choice_and_gradient_share_one_draw_of_the_noise(task, guide):
    """The state that a member has under the crowd's own noise is a copy: no distance, and no direction to go."""
    release = guide(scale=5.0)
    for t in (1, 400):
        noise = release.crowd.noise.view(40, 1, 8, 8)
        x = add_noise(task.schedule, task.images, full_timesteps(t, noise), noise)
        nl2, away = release.crowd.likeness(task.schedule, x, full_timesteps(t, x))
        assert float(nl2.max()) < 1e-3
        assert torch.equal(
            guide(scale=5.0).eps(x, full_timesteps(t, x)), release.eps(x, full_timesteps(t, x))
        )  # drawn once for good
        nudged = x + 1e-3 * torch.ones_like(x)
        direction = release.crowd.likeness(task.schedule, nudged, full_timesteps(t, x))[1].flatten(1)
        cosine = torch.cosine_similarity(direction, torch.ones_like(direction))
        assert float(cosine.min()) > 0.99 and bool(away.isfinite().all())


# The gate ------------------------------------------------------------------------------------------------------------


def test_where_the_gate_is_shut_eps_is_the_bases_bit_for_bit(task, guide):
    release, x = guide(scale=5.0), states(task, 120)
    eps, gate = release.guided(x, full_timesteps(120, x))
    plain = task.base.eps(x, full_timesteps(120, x))
    nl2 = release.crowd.likeness(task.schedule, x, full_timesteps(120, x))[0]
    assert torch.equal(gate, nl2 < 1.95 - 0.45 * np.exp(-0.75)) and 0 < int(gate.sum()) < 80
    assert torch.equal(eps[~gate], plain[~gate]) and bool((eps[gate] != plain[gate]).flatten(1).any(dim=1).all())
    exactly = replace(release, threshold=torch.full((1000,), float(nl2[0])))
    assert not bool(exactly.guided(x, full_timesteps(120, x))[1][0])  # strict


def test_nothing_asked_for_is_the_plain_sampler_bit_for_bit(task, guide):
    plain = task.base.sample(12)
    assert torch.equal(guide(scale=0.0).sample(12), plain)
    assert not torch.equal(guide(scale=1.0).sample(12), plain)
    shut = guide(scale=0.0)
    shut.sample(3)
    assert shut.facts() == {"gate_rate_by_t": {str(t): 0.0 for t in range(900, -1, -100)}}


def test_a_guided_step_raises_the_relative_distance(task, guide):
    release = guide(scale=0.1)
    for s, u in ((100, 60), (400, 360), (40, 10)):
        x = states(task, s)
        eps, gate = release.guided(x, full_timesteps(s, x))
        plain, guided = (ddim_step(task.schedule, x, s, u, e) for e in (task.base.eps(x, full_timesteps(s, x)), eps))
        before, after = (release.crowd.likeness(task.schedule, y, full_timesteps(u, y))[0] for y in (plain, guided))
        # Not of every state: another training image may become the nearest.
        assert int(gate.sum()) > 40 and float((after > before)[gate].float().mean()) > 0.95
        assert float((after - before)[gate].mean()) > 0


def nearest(images: torch.Tensor, train: torch.Tensor) -> float:
    """Mean distance to the nearest training image, root mean square of pixels."""
    return float((images[:, None] - train).square().flatten(2).mean(dim=2).sqrt().amin(dim=1).mean())


def test_guidance_drives_samples_off_the_training_images_and_too_much_off_the_data(digits_task, guide):
    spec = digits_task.network.model_copy(update={"width": 128, "blocks": 2})
    few = replace(digits_task.subset(torch.arange(12)), network=spec, schedule=Schedule(steps=40))
    defense = Baseline(steps=800, batch=64, lr=8e-3, ema=0.99)
    few = replace(few, base=defense.release(defense.fit(few), few))
    releases = [AMG(scale=scale).release(AMG().fit(few), few) for scale in (0.0, 0.3, 100.0)]
    plain, guided, forced = (nearest(release.sample(100), few.images) for release in releases)
    real = nearest(digits_task.heldout, few.images)
    assert plain < 0.8 * real  # it copies
    assert guided > 1.3 * plain
    assert forced > 1.5 * real  # published without the gate: an FID of 257


def test_extreme_settings_stay_finite(guide):
    images = guide(scale=1e4).sample(6)
    assert bool(images.isfinite().all()) and float(images.abs().max()) <= 1


# Taking the condition away -------------------------------------------------------------------------------------------


def test_despecification_moves_towards_the_mean_over_the_labels(conditional, guide):
    base = conditional.base
    release = guide(base, scale=0.0, despecify=0.8)
    x, label = states(conditional, 20), torch.arange(80) % 2
    t = full_timesteps(20, x)
    eps, gate = release.guided(x, t, label)
    own, other = base.eps(x, t, label), base.eps(x, t, 1 - label)
    s1 = 0.8 * (1 - release.crowd.likeness(conditional.schedule, x, t)[0] / 2).view(-1, 1, 1, 1)
    expected = torch.where(gate.view(-1, 1, 1, 1), own - s1 * (own - (own + other) / 2), own)
    assert 0 < int(gate.sum()) < 80
    torch.testing.assert_close(eps, expected, rtol=1e-5, atol=1e-6)
    together = guide(base, scale=2.0, despecify=0.8).eps(x, t, label)
    torch.testing.assert_close(together, expected + guide(base, scale=2.0).eps(x, t, label) - own, rtol=1e-4, atol=1e-5)
    assert release.network_calls == 3.0 and guide(base, scale=2.0).network_calls == 1.0


def test_there_is_no_condition_to_take_away_without_one():
    place = AuditSetting((), "none", "nothing", 1000, 40)
    assert "despecify" in AMG(despecify=0.5).skip(place).reason and AMG().skip(place) is None
    assert AMG(despecify=0.5).skip(replace(place, condition="label")) is None


# What it hands out, and above and below others -----------------------------------------------------------------------


def test_the_members_ship_and_no_claim_survives(task, guide):
    release, x = guide(), task.heldout
    assert torch.equal(release.parts["members"], task.images)
    assert release.guarantee.to_json() == {"void": "AMG compares samples with members"} and release.info["of"] == "base"
    assert release.network is task.base.network and not release.eps_is_raw
    assert torch.equal(release.raw_eps(x, full_timesteps(9, x)), task.base.raw_eps(x, full_timesteps(9, x)))


def test_releasing_reads_no_training_image(task):
    artefacts = AMG().fit(task)
    assert AMG().release(artefacts, replace(task, images=None, near_duplicates=None)).sample(2).shape == (2, 1, 8, 8)


def test_gate_rates_are_shares_of_samples_and_padding_does_not_count(task, guide):
    release = Release.with_batch(guide(scale=1.0), 4)
    assert guide().facts() == {}
    release.sample(10)  # three batches, the last padded by two rows
    x, expected = task.base.initial_noise(torch.arange(10)), {}
    walk = task.schedule.timesteps()
    for s, u in zip(walk, [*walk[1:], -1], strict=True):
        eps, gate = release.guided(x, full_timesteps(s, x))
        expected[str(s)] = float(gate.sum()) / 10
        x = ddim_step(task.schedule, x, s, u, eps)
    assert release.facts() == {"gate_rate_by_t": pytest.approx(expected)}


def test_it_guides_over_cpsample_and_rejection_chooses_among_what_it_guides(task, guide, protect):
    below = protect(alpha=0.25, scale=3.0)
    over, x = guide(below, scale=2.0), states(task, 100)
    push = guide(scale=2.0).eps(x, full_timesteps(100, x)) - task.base.eps(x, full_timesteps(100, x))
    torch.testing.assert_close(
        over.eps(x, full_timesteps(100, x)), below.eps(x, full_timesteps(100, x)) + push, rtol=1e-4, atol=1e-4
    )
    assert over.parts["classifier"] is below.parts["classifier"] and over.network_calls == below.network_calls
    guided = replace(task, base=guide(scale=1.0))
    rejecting = RejectResample(tries=1).release(RejectResample().fit(guided), guided)
    assert torch.equal(rejecting.sample(5), guided.base.sample(5))
    with pytest.raises(UsageError, match="build that base on it instead"):
        guide(rejecting)


def test_cpsample_may_guide_over_it(task, small, artefacts, guide):
    base = guide(scale=1.0)
    over = CPSample(**small, alpha=0.0).release(artefacts, replace(task, base=base))
    assert torch.equal(over.sample(5), base.sample(5))


def test_it_guides_a_switched_model_by_what_that_answers(conditional, guide):
    defense = AttributeSwitching(search_images=2, tau=500)
    info = {"tau_criterion": 0, "tau_curve": {}}
    switched = defense.release(replace(AMG().fit(conditional), info=info), conditional)
    x, label = states(conditional, 100), torch.zeros(80, dtype=torch.int64)
    over, plain = guide(switched, scale=2.0), guide(conditional.base, scale=2.0)
    assert torch.equal(over.eps(x, full_timesteps(100, x), label), plain.eps(x, full_timesteps(100, x), 1 - label))
    assert not torch.equal(over.eps(x, full_timesteps(100, x), label), plain.eps(x, full_timesteps(100, x), label))

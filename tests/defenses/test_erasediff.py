"""EraseDiff against finite differences, a quadratic program, a loop of its own, and its published variants."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from torch import nn
from torch.nn import functional as F

from leakbench.api import AuditSetting, Release, Task
from leakbench.defenses._unlearning import Edit, dot, joined
from leakbench.defenses.erasediff import EraseDiff, cosine_multiplier, multiplier
from leakbench.models import networks
from leakbench.models.diffusion import Schedule, add_noise
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.device import Rng

STREAMS = Rng("erasediff", 0)
COUNT, LABELS, T = 30, 3, 40
SPEC = NetworkSpec(kind="mlp", shape=(1, 4, 4), width=16, blocks=1, conditions=LABELS)


class Toy(nn.Module):
    """A float64 denoiser, small enough for brute force. Remembers the labels it was asked under."""

    def __init__(self) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(0)
        shapes = {"weight": (16, 16), "time": (16,), "label": (LABELS, 16)}
        for name, shape in shapes.items():
            value = 0.3 * torch.randn(shape, generator=drawn, dtype=torch.float64)
            self.register_parameter(name, nn.Parameter(value))
        self.asked: list[torch.Tensor] = []

    def forward(self, x, t, label):
        self.asked.append(label)
        inner = x.double().flatten(1) @ self.weight + t[:, None] / T * self.time + self.label[label]
        return torch.tanh(inner).view(x.shape)


def task_of() -> Task:
    images = STREAMS.of("images").uniform(torch.arange(COUNT), SPEC.shape).float() * 2 - 1
    labels, cpu = torch.arange(COUNT) % LABELS, torch.device("cpu")
    network = networks.build(SPEC, STREAMS.of("network")).eval().requires_grad_(False)
    schedule = Schedule(T=T, steps=5)
    base = Release(network, schedule, STREAMS, SPEC.shape, cpu, batch=16)
    task = Task(images, labels, None, "label", torch.arange(COUNT), images[:4], SPEC, schedule, STREAMS, cpu, base=base)
    return replace(task, forget=labels == 1, forget_label=1)


@pytest.fixture
def edit() -> Edit:
    return Edit(task_of(), Toy(), Toy(), 8)


def left_by(defense: EraseDiff, edit: Edit) -> list[torch.Tensor]:
    """The gradient that a step leaves, and the pair it was made of."""
    defense.rule(edit)(edit.network, edit.pairs(0, 1)[0])
    return [p.grad.clone() for p in edit.parameters]


def losses(edit: Edit, target: torch.Tensor) -> torch.Tensor:
    """L_f towards a target and L_r, written out."""
    task, (pair,) = edit.task, edit.pairs(0, 1)
    alpha_bar, found = torch.from_numpy(task.schedule.alpha_bar), []
    for batch, goal in ((pair.forget, target), (pair.keep, pair.keep.noise)):
        scale, sigma = (part[batch.t].view(-1, 1, 1, 1) for part in (alpha_bar.sqrt(), (1 - alpha_bar).sqrt()))
        x_t = (scale.float() * task.images[batch.index] + sigma.float() * batch.noise).double()
        inner = torch.tanh(
            x_t.flatten(1) @ edit.network.weight
            + batch.t[:, None] / T * edit.network.time
            + edit.network.label[task.labels[batch.index]]
        )
        found.append((inner - goal.flatten(1)).square().sum() / inner.numel())
    return torch.stack(found).detach()


def slopes(edit: Edit, value) -> list[torch.Tensor]:
    """Central differences of value(), which gives two numbers, in every single weight: two lists of gradients."""
    found, h = [], 1e-5
    for parameter in edit.parameters:
        slope = torch.zeros(2, parameter.numel(), dtype=torch.float64)
        flat = parameter.data.view(-1)
        for i in range(len(flat)):
            kept, ends = float(flat[i]), []
            for sign in (1, -1):
                flat[i] = kept + sign * h
                ends.append(value())
            flat[i] = kept
            slope[:, i] = (ends[0] - ends[1]) / (2 * h)
        found.append(slope.view(2, *parameter.shape))
    return [list(side) for side in zip(*found, strict=True)]


# The gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["noise", "other_label"])
def test_g_r_and_g_f_are_finite_differences(target, edit):
    """A fixed multiplier w leaves g_r + w g_f: with two values of w both gradients are known."""
    pair = edit.pairs(0, 1)[0]
    with torch.no_grad():
        goal = EraseDiff(target=target)._target(edit, edit.network, pair)[1]  # a constant, from here on
    g_r = left_by(EraseDiff(weighting="fixed", weight=0.0, target=target), edit)
    both = left_by(EraseDiff(weighting="fixed", weight=0.7, target=target), edit)
    g_f = [(b - r) / 0.7 for b, r in zip(both, g_r, strict=True)]
    slopes_f, slopes_r = slopes(edit, lambda: losses(edit, goal))
    for ours, slope in zip([*g_f, *g_r], [*slopes_f, *slopes_r], strict=True):
        torch.testing.assert_close(ours, slope, atol=1e-8, rtol=1e-5)
    assert float(dot(g_f, g_f)) > 0 and float(dot(g_r, g_r)) > 0


@pytest.mark.parametrize("weighting", ["closed_form", "fixed", "cosine"])
@pytest.mark.parametrize("eta", [0.0, 0.1, 3.0])
def test_a_step_leaves_g_r_plus_lambda_g_f(weighting, eta, edit):
    g_r = left_by(EraseDiff(weighting="fixed", weight=0.0), edit)
    both = left_by(EraseDiff(weighting="fixed", weight=1.0), edit)
    g_f = joined(both, -1.0, g_r)
    delta = left_by(EraseDiff(weighting=weighting, eta=eta, weight=0.25), edit)
    r, f = (np.concatenate([g.numpy().ravel() for g in gradient]) for gradient in (g_r, g_f))
    lam = {
        "closed_form": max(0.0, eta - f @ r / (f @ f)),
        "cosine": max(0.0, eta - f @ r / np.linalg.norm(f) / np.linalg.norm(r)),
        "fixed": 0.25,
    }[weighting]
    np.testing.assert_allclose(np.concatenate([g.numpy().ravel() for g in delta]), r + lam * f, rtol=1e-9, atol=1e-12)
    assert float(edit.notes["multiplier"]) == pytest.approx(lam)


# The multiplier -------------------------------------------------------------------------------------------------------

vectors = st.lists(st.floats(-3, 3, width=32), min_size=12, max_size=12).map(lambda v: torch.tensor(v).double())


def parts(vector: torch.Tensor) -> list[torch.Tensor]:
    return [vector[:4].view(2, 2), vector[4:5], vector[5:]]


@settings(max_examples=200, deadline=None)
@given(vectors, vectors.filter(lambda v: float(v.norm()) > 0.1), st.floats(0, 5))
def test_the_constraint_holds_with_equality_where_the_multiplier_acts(r, f, eta):
    lam = float(multiplier(parts(r), parts(f), eta))
    delta, bound = r + lam * f, eta * float(f @ f)
    assert float(f @ delta) >= bound - 1e-9 * (1 + abs(bound)) and lam >= 0
    if lam > 0:
        assert float(f @ delta) == pytest.approx(bound, rel=1e-9, abs=1e-9)
    if float(f @ r) >= bound:  # g_r alone forgets fast enough
        assert lam == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_it_solves_the_quadratic_program(seed):
    """min 1/2 |delta - g_r|^2 subject to <g_f, delta> >= eta |g_f|^2, by scipy's SLSQP."""
    rng = np.random.default_rng(seed)
    r, f, eta = rng.normal(size=12), rng.normal(size=12), [0.0, 0.1, 1.0, 4.0][seed % 4]
    found = optimize.minimize(
        lambda d: 0.5 * ((d - r) ** 2).sum(),
        np.zeros(12),
        jac=lambda d: d - r,
        constraints={"type": "ineq", "fun": lambda d: f @ d - eta * f @ f, "jac": lambda d: f},
        method="SLSQP",
        options={"ftol": 1e-14},
    )
    lam = float(multiplier(parts(torch.tensor(r)), parts(torch.tensor(f)), eta))
    np.testing.assert_allclose(r + lam * f, found.x, atol=1e-6)


def test_the_cosine_form_is_another():
    r, f = parts(torch.arange(12).double() - 7), parts(torch.arange(12).double().cos() * 3)
    assert float(multiplier(r, f, 1.0)) != pytest.approx(float(cosine_multiplier(r, f, 1.0)), rel=0.01)
    unit = [[g / dot(v, v).sqrt() for g in v] for v in (r, f)]
    assert float(multiplier(*unit, 1.0)) == pytest.approx(float(cosine_multiplier(r, f, 1.0)))


def test_no_gradient_gives_no_nan():
    zero, r = parts(torch.zeros(12)), parts(torch.ones(12))
    for form in (multiplier, cosine_multiplier):
        for pair in ((r, zero), (zero, r), (zero, zero)):
            assert bool(form(*pair, 0.1).isfinite())


# The inner loop -------------------------------------------------------------------------------------------------------


def test_the_inner_loop_changes_no_bit():
    """Neither the weights nor the moments of the outer Adam: many steps with it end where those without it do."""
    task, sizes = task_of(), {"steps": 9, "batch": 8, "lr": 1e-2}
    made = [EraseDiff(**sizes, inner=inner).fit(task) for inner in (0, 1, 2)]
    for other in made[1:]:
        assert all(torch.equal(v, other.tensors[k]) for k, v in made[0].tensors.items())
    gaps = [one.info.get("constraint_gap") for one in made]
    assert gaps[0] is None and gaps[2] > gaps[1] > 0  # the longer it looks, the lower the minimum


def test_the_constraint_gap_is_that_of_k_adam_steps_on_a_copy(edit):
    pair, lr = edit.pairs(0, 1)[0], 0.02
    defense = EraseDiff(inner=3, lr=lr)
    x_t, target = defense._target(edit, edit.network, pair)
    label = edit.label(pair.forget)
    copied = copy.deepcopy(edit.network)
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in copied.parameters()]
    values = []
    for step in range(4):
        loss = F.mse_loss(copied(x_t, pair.forget.t, label), target.double())
        values.append(float(loss.detach()))
        gradients = torch.autograd.grad(loss, list(copied.parameters()))
        with torch.no_grad():
            for p, (m, v), g in zip(copied.parameters(), moments, gradients, strict=True):
                m.mul_(0.9).add_(g, alpha=0.1)
                v.mul_(0.999).add_(g * g, alpha=0.001)
                p -= lr * (m / (1 - 0.9 ** (step + 1))) / ((v / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
    left_by(defense, edit)
    assert float(edit.notes["constraint_gap"]) == pytest.approx(values[0] - values[3], rel=1e-6)


# The targets ----------------------------------------------------------------------------------------------------------


def test_the_uniform_target_is_uniform_on_0_1_and_apart_from_the_noise(edit):
    wide, values, noise = Edit(edit.task, edit.network, edit.teacher, 64), [], []
    for pair in wide.pairs(0, 40):
        x_t, target = EraseDiff()._target(wide, wide.network, pair)
        batch = pair.forget
        expected = add_noise(wide.task.schedule, wide.images[batch.index], batch.t, batch.noise)
        assert torch.equal(x_t, expected)  # x_t keeps its Gaussian noise
        values.append(target.flatten())
        noise.append(batch.noise.flatten())
    all_values, all_noise = torch.cat(values).numpy(), torch.cat(noise).numpy()
    assert stats.kstest(all_values, "uniform").pvalue > 1e-3
    assert all_values.mean() == pytest.approx(0.5, abs=0.006) and all_values.var() == pytest.approx(1 / 12, abs=0.002)
    assert abs(np.corrcoef(all_values, all_noise)[0, 1]) < 0.02


def test_the_other_label_is_never_the_same_and_its_answer_is_a_constant(edit):
    toy = edit.network
    for pair in edit.pairs(0, 20):
        toy.asked.clear()
        target = EraseDiff(target="other_label")._target(edit, toy, pair)[1]
        (asked,) = toy.asked
        assert bool((asked != edit.label(pair.forget)).all()) and not target.requires_grad
        x_t = add_noise(edit.task.schedule, edit.images[pair.forget.index], pair.forget.t, pair.forget.noise)
        torch.testing.assert_close(target, toy(x_t, pair.forget.t, asked))


def test_other_labels_differ_within_a_batch(edit):
    edit.network.asked.clear()
    EraseDiff(target="other_label")._target(edit, edit.network, edit.pairs(0, 1)[0])
    assert set(edit.network.asked[0].tolist()) == {0, 2}  # all 8 images have label 1


@pytest.mark.parametrize("condition", ["none", "attribute"])
def test_another_label_needs_labels(condition):
    place = AuditSetting((), condition, "subset", T, COUNT)
    assert 'condition = "label"' in EraseDiff(target="other_label").skip(place).reason
    assert EraseDiff().skip(place) is None
    assert EraseDiff(target="other_label").skip(replace(place, condition="label")) is None


@pytest.mark.parametrize("target", ["noise", "other_label"])
def test_training_brings_the_forget_loss_down_and_holds_the_other(target):
    """On the sides as wholes: L_f falls well below where it was; L_r does not grow much."""
    task = task_of()
    pair = Edit(task, task.base.network, task.base.network, 512).pairs(0, 1)[0]

    def both(network):
        whole = Edit(task, network, network, 512)
        x_t, goal = EraseDiff(target=target)._target(whole, task.base.network, pair)
        found = EraseDiff()._forget_loss(whole, network, pair.forget, x_t, goal)
        return float(found), float(whole.errors(network, pair.keep).mean())

    defense = EraseDiff(target=target, steps=200, batch=16, lr=3e-3, inner=0)
    edited = defense.release(defense.fit(task), task).network
    with torch.no_grad():
        before, after = both(task.base.network), both(edited)
    assert after[1] < 1.05 * before[1]
    if target == "noise":
        assert after[0] < 0.7 * before[0]

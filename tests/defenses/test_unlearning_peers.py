"""EraseDiff's peers, each against its published formula: brute force, closed forms, and what must not move."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from leakbench.api import AuditSetting, Release, Task
from leakbench.defenses._unlearning import Edit, dot, joined
from leakbench.defenses.esd import ESD
from leakbench.defenses.finetune import Finetune
from leakbench.defenses.neg_grad import NegGrad
from leakbench.defenses.salun import SalUn, saliency, top_mask
from leakbench.defenses.selective_amnesia import Samples, SelectiveAmnesia
from leakbench.defenses.sfron import SFRon
from leakbench.defenses.siss import SISS
from leakbench.models import networks
from leakbench.models.denoiser_training import errors, trainable
from leakbench.models.diffusion import Schedule, add_noise, alpha_sigma, ddim_step, full_timesteps, predict_x0
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.device import Rng

STREAMS = Rng("peers", 0)
COUNT, LABELS, T, D = 30, 3, 40, 16
CPU = torch.device("cpu")


class Toy(nn.Module):
    """A float64 denoiser, small enough for brute force. Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(0)
        for name, shape in {"weight": (D, D), "time": (D,), "label": (LABELS, D)}.items():
            value = 0.3 * torch.randn(shape, generator=drawn, dtype=torch.float64)
            self.register_parameter(name, nn.Parameter(value))
        self.asked: list[tuple] = []

    def forward(self, x, t, label=None):
        self.asked.append((x, t, label, torch.is_grad_enabled()))
        inner = x.double().flatten(1) @ self.weight + t[:, None] / T * self.time
        return torch.tanh(inner if label is None else inner + self.label[label]).view(x.shape)


@dataclass(frozen=True)
class Painted(Release):
    """Samples of label c are c / 10 all over; remembers the numbers it was asked for."""

    def generate(self, ids, label=None, draw=0):
        self.info.setdefault("ids", []).append(ids)
        return (label / 10).view(-1, 1, 1, 1).expand(-1, *self.shape)


def task_of(condition: str = "label", forget_label: int = 1, release: type[Release] = Release) -> Task:
    spec = NetworkSpec(kind="mlp", shape=(1, 4, 4), width=16, blocks=1, conditions=LABELS * (condition == "label"))
    images = STREAMS.of("images").uniform(torch.arange(COUNT), spec.shape).float() * 2 - 1
    labels, schedule = torch.arange(COUNT) % LABELS, Schedule(T=T, steps=5)
    network = networks.build(spec, STREAMS.of("network")).eval().requires_grad_(False)
    base = release(network, schedule, STREAMS, spec.shape, CPU, batch=16)
    task = Task(images, labels, None, condition, labels, images[:4], spec, schedule, STREAMS, CPU, base=base)
    return replace(task, forget=labels == forget_label, forget_label=forget_label)


def toy_edit(batch: int = 8, **more) -> Edit:
    return Edit(task_of(**more), Toy(), Toy().requires_grad_(False), batch)


def left_by(defense, edit: Edit, step: int = 0) -> list[torch.Tensor]:
    """The gradient that one step leaves."""
    defense.rule(edit)(edit.network, edit.pairs(step, step + 1)[0])
    return [p.grad.clone() for p in edit.parameters]


def gradient(edit: Edit, loss: torch.Tensor) -> list[torch.Tensor]:
    found = torch.autograd.grad(loss, edit.parameters, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, edit.parameters, strict=True)]


def check_close(ours, theirs, rtol: float = 1e-6) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=rtol)


def flat(parts) -> torch.Tensor:
    return torch.cat([part.detach().flatten() for part in parts])


def test_neg_grad_ascends_on_the_forget_set_and_finetune_descends_on_the_rest():
    edit = toy_edit()
    (pair,) = edit.pairs(0, 1)
    for defense, batch, sign, forgotten in ((NegGrad(), pair.forget, -1, True), (Finetune(), pair.keep, 1, False)):
        assert bool((edit.task.forget[batch.index] == forgotten).all())
        edit.network.asked.clear()
        ours = left_by(defense, edit)
        ((x_t, t, label, _),) = edit.network.asked  # one call, and it is about these images
        assert bool(((label == 1) == forgotten).all()) and torch.equal(t, batch.t)
        loss = (edit.network(x_t, t, label) - batch.noise).square().mean()
        check_close(ours, gradient(edit, sign * loss))


def test_sizes_that_do_not_fit_are_objected_to():
    place = AuditSetting((), "label", "label", T, COUNT)
    assert amnesia().skip(place) is None and ESD(batch=8, walk=8).skip(place) is None
    assert "fisher_samples = 9 is to be at most samples = 4" in amnesia(fisher_samples=9).skip(place).reason
    for bad in (ESD(batch=8, walk=9), ESD(batch=64, walk=T + 1)):
        assert f"walk = {bad.walk} is to be at most" in bad.skip(place).reason


def amnesia(**more) -> SelectiveAmnesia:
    return SelectiveAmnesia(**({"samples": 4, "fisher_samples": 2, "lam": 0.3, "gamma": 0.7} | more))


def brute_fisher(edit: Edit, drawn: Samples, count: int) -> list[torch.Tensor]:
    """Of a loss summed over pixels: every timestep alone, squared after the sum over timesteps."""
    squares = []
    for number in range(count):
        total = torch.zeros(())
        for t in range(T):
            noise = edit.stream("fisher").normal(torch.tensor([number * T + t]), (1, 4, 4))
            one = slice(number, number + 1)
            row = (drawn.images[one], full_timesteps(t, noise), noise, drawn.labels[one])
            total = total + D * errors(edit.network, edit.task.schedule, *row).sum()
        squares.append([g**2 for g in gradient(edit, total)])
    return [torch.stack(parts).mean(0) for parts in zip(*squares, strict=True)]


def test_the_fisher_pass_is_brute_force():
    edit, defense = toy_edit(), amnesia()
    drawn = defense.draw(edit.task.base, edit.task)
    assert drawn.labels.tolist() == [0, 1, 2] * 4
    ours = defense.fisher(edit, drawn)
    check_close(ours, brute_fisher(edit, drawn, 2 * LABELS))
    assert float(flat(ours).min()) >= 0 and float(flat(ours).max()) > 0


def test_the_objective_is_the_published_one_in_sums_over_pixels():
    edit, defense = toy_edit(), amnesia()
    drawn = defense.draw(edit.task.base, edit.task)
    fisher, star = brute_fisher(edit, drawn, 2 * LABELS), [p.detach().clone() for p in edit.parameters]
    rule, (pair,) = defense.rule(edit), edit.pairs(3, 4)
    with torch.no_grad():
        for i, p in enumerate(edit.parameters):
            p.add_(0.05 * torch.cos(torch.arange(p.numel()) + i).view_as(p))
    edit.network.asked.clear()
    rule(edit.network, pair)
    ours = [p.grad for p in edit.parameters]
    noises, published = (pair.forget.noise, pair.keep.noise), 0.0
    for (x_t, t, label, _), noise, weight in zip(list(edit.network.asked), noises, (1, 0.7), strict=True):
        published += weight * (edit.network(x_t, t, label) - noise).square().sum() / 8
    rows = zip(fisher, edit.parameters, star, strict=True)
    published += 0.3 * sum((f * (p - s) ** 2).sum() for f, p, s in rows)
    check_close(ours, gradient(edit, published))


def test_there_is_no_penalty_at_the_base():
    firm, loose = (left_by(amnesia(lam=lam), toy_edit()) for lam in (1e6, 0.0))
    assert all(torch.equal(a, b) for a, b in zip(firm, loose, strict=True))


def test_it_forgets_towards_uniform_noise_and_replays_generated_images():
    edit = Edit(task_of(release=Painted), Toy(), Toy(), 512)
    left_by(amnesia(), edit)
    (pair,) = edit.pairs(0, 1)
    forget, replay = edit.network.asked[-2:]
    x0, again = (
        predict_x0(edit.task.schedule, x_t, t, noise)
        for (x_t, t, *_), noise in zip((forget, replay), (pair.forget.noise, pair.keep.noise), strict=True)
    )
    assert bool((forget[2] == 1).all()) and set(replay[2].tolist()) == {0, 2}
    painted = (replay[2] / 10).view(-1, 1, 1, 1).expand_as(again)
    torch.testing.assert_close(again, painted, atol=1e-4, rtol=0)
    assert stats.kstest(x0.flatten().numpy(), "uniform", (-1, 2)).pvalue > 1e-3
    ids = torch.cat(edit.task.base.info["ids"])
    assert int(ids.min()) >= 2**30  # not the samples that quality is measured on


def test_the_saliency_sums_the_clipped_gradients_of_one_pass_over_the_forget_set():
    edit = toy_edit(batch=4)  # 10 images: batches of 4, 4 and 2
    total, lengths = [torch.zeros_like(p) for p in edit.parameters], []
    for indices in edit.task.forget.nonzero()[:, 0].split(4):
        loss = 0.0
        for i in indices:
            stream = edit.stream("salun mask")
            t, noise = stream.integers(i[None], T, draw=0), stream.normal(i[None], (1, 4, 4), draw=1)
            row = (edit.task.images[i][None], t, noise, edit.task.labels[i][None])
            loss = loss + D * errors(edit.network, edit.task.schedule, *row).sum() / len(indices)
        part = gradient(edit, loss)
        lengths.append(float(flat(part).norm()))
        total = joined(total, 1 / max(1.0, lengths[-1]), part)
    assert min(lengths) > 1
    check_close(saliency(edit), total)


@pytest.mark.parametrize("forget_label", [1, 2])
def test_salun_relabels_to_the_next_label_and_the_target_is_a_constant(forget_label):
    edit = toy_edit(forget_label=forget_label)
    ours, (pair,) = left_by(SalUn(alpha=0.4), edit), edit.pairs(0, 1)
    target, asked, keep = edit.network.asked[-3:]
    assert set(target[2].tolist()) == {(forget_label + 1) % LABELS} and not target[3]
    assert set(asked[2].tolist()) == {forget_label} and torch.equal(target[0], asked[0])
    goal = edit.network(*target[:3]).detach()
    loss = (edit.network(*asked[:3]) - goal).square().mean()
    loss = loss + 0.4 * (edit.network(*keep[:3]) - pair.keep.noise).square().mean()
    mask = top_mask(saliency(edit), 0.5)
    assert SalUn().alpha == pytest.approx(1e-3 * 3072, rel=1e-3)  # the published one, in means
    check_close(ours, [g * m for g, m in zip(gradient(edit, loss), mask, strict=True)])


def test_salun_clips_a_gradient_before_it_is_masked():
    edit = toy_edit()
    ours, far = (flat(left_by(SalUn(alpha=alpha), edit)) for alpha in (100.0, 1000.0))
    keep, (pair,) = edit.network.asked[-1], edit.pairs(0, 1)
    mask = flat(top_mask(saliency(edit), 0.5))
    whole = flat(gradient(edit, (edit.network(*keep[:3]) - pair.keep.noise).square().mean()))
    torch.testing.assert_close(far, whole / whole.norm() * mask, atol=0.01, rtol=0)
    assert float(ours.norm()) < 1 and float(ours.norm()) == pytest.approx(float(far.norm()), rel=0.01)


def test_unmasked_weights_keep_their_bits():
    task, defense = task_of(), SalUn(steps=30, batch=8, lr=1e-2)
    edit = Edit(task, trainable(task.base.network, CPU), task.base.network, 8)
    mask = flat(top_mask(saliency(edit), 0.5))
    edited = defense.fit(task).tensors
    before = flat(edit.parameters)
    after = flat([edited[f"weights.{name}"] for name, _ in edit.network.named_parameters()])
    assert torch.equal(after[mask == 0], before[mask == 0])
    assert float(mask.mean()) == pytest.approx(0.5, abs=1 / len(mask))
    assert float((after != before)[mask == 1].float().mean()) > 0.95


@pytest.mark.parametrize("eta", [0.0, 1.0, 2.5])
def test_esds_target_is_guided_away_from_the_frozen_base(eta):
    edit, defense = toy_edit(), ESD(eta=eta, batch=8, walk=4)
    before = flat(edit.teacher.parameters())
    ours = left_by(defense, edit)
    (x_t, t, label, _), (same, _, other, _) = edit.teacher.asked
    assert bool((label == 1).all()) and bool((other != 1).all()) and torch.equal(x_t, same)
    e_p, e_0 = edit.teacher(x_t, t, label), edit.teacher(x_t, t, other)
    target = e_0 if eta == 0 else e_0 - eta * (e_p - e_0)
    check_close(ours, gradient(edit, (edit.network(x_t, t, label) - target).square().mean()))
    assert torch.equal(flat(edit.teacher.parameters()), before)


@pytest.mark.parametrize(("batch", "walk"), [(8, 4), (10, 7), (6, 6), (5, 1), (9, 2)])
def test_esds_states_lie_on_the_students_own_walk(batch, walk):
    edit, defense = toy_edit(batch), ESD(batch=batch, walk=walk)
    for pair in edit.pairs(0, 3):
        x, t = defense.states(edit, edit.network, pair, torch.ones(batch, dtype=torch.int64))
        moves = [row * walk // batch for row in range(batch)]
        assert moves == defense.moves()
        shift = int(t[-1]) - (walk - 1 - moves[-1]) * T // walk  # how far this step's walk is shifted
        assert 0 <= shift < T // walk
        times = [i * T // walk + shift for i in reversed(range(walk))]
        for row in range(batch):
            alone = pair.forget.noise[row : row + 1]
            for s, u in pairwise(times[: moves[row] + 1]):
                eps = edit.network(alone, full_timesteps(s, alone), full_timesteps(1, alone))
                alone = ddim_step(edit.task.schedule, alone, s, u, eps)
            torch.testing.assert_close(x[row : row + 1].double(), alone.detach().double(), atol=1e-5, rtol=1e-4)
            assert int(t[row]) == times[moves[row]]


def test_esd_meets_every_timestep_alike():
    edit, defense = toy_edit(8), ESD(batch=8, walk=4)
    label = torch.ones(8, dtype=torch.int64)
    t = torch.cat([defense.states(edit, edit.network, pair, label)[1] for pair in edit.pairs(0, 200)])
    shifts = torch.bincount(t % (T // 4), minlength=10) / 8  # a step's eight rows share one
    assert set(t.tolist()) == set(range(T)) and stats.chisquare(shifts.numpy()).pvalue > 1e-3
    assert set((torch.bincount(t // 10, minlength=4) / 200).tolist()) == {2.0}


@pytest.mark.parametrize("condition", ["none", "label"])
@pytest.mark.parametrize("lam", [0.3, 0.5])
def test_both_weighted_losses_are_unbiased(condition, lam):
    """Their means are the two plain denoising losses, within four standard errors: with labels, under the label of
    whichever image a state is from, in posterior odds."""
    edit, samples = toy_edit(4096, condition=condition), []
    for pair in edit.pairs(0, 12):
        t, noise, plain = pair.forget.t, pair.forget.noise, []
        with torch.no_grad():
            weighted = SISS(lam=lam).losses(edit, edit.network, pair)
            for batch, other, share in ((pair.keep, pair.forget, lam), (pair.forget, pair.keep, 1 - lam)):
                x0, x1 = edit.images[batch.index], edit.images[other.index]
                gamma, sigma = alpha_sigma(edit.task.schedule, t, x0)
                near, far = (n.square().flatten(1).sum(1) / 2 for n in (noise, noise + gamma * (x0 - x1) / sigma))
                theirs = share / (share + (1 - share) * torch.exp(far - near))  # how likely it is from the other image
                own, crossed = (
                    errors(edit.network, edit.task.schedule, x0, t, noise, edit.label(asked))
                    for asked in (batch, other)
                )
                plain.append(D * ((1 - theirs) * own + theirs * crossed).mean())
        samples.append([float(w - p) for w, p in zip(weighted, plain, strict=True)])
    bias, spread = np.mean(samples, 0), np.std(samples, 0, ddof=1) / np.sqrt(len(samples))
    assert np.all(np.abs(bias) < 4 * spread) and np.all(spread < 0.02 * D)


def test_the_forget_part_has_the_ratios_norm_and_the_step_is_one_call():
    edit = toy_edit()
    edit.network.asked.clear()
    ours = left_by(SISS(ratio=0.3), edit)
    assert len(edit.network.asked) == 1
    (pair,) = edit.pairs(0, 1)
    loss_x, loss_a = SISS().losses(edit, edit.network, pair)
    g_x, g_a = gradient(edit, loss_x), gradient(edit, loss_a)
    part = joined(g_x, -1.0, ours)
    assert float(dot(part, part).sqrt()) == pytest.approx(0.3 * float(dot(g_x, g_x).sqrt()))
    assert float(dot(part, g_a) / dot(g_a, g_a).sqrt() / dot(part, part).sqrt()) == pytest.approx(1)
    check_close(left_by(SISS(ratio=0.0), edit), g_x)
    for lam in (0.0, 1.0):  # one weight is unbounded there
        assert bool(flat(left_by(SISS(lam=lam), toy_edit(256))).isfinite().all())


@pytest.mark.parametrize("defense", [amnesia(), SISS()], ids=["selective_amnesia", "siss"])
def test_the_published_clip_is_active(defense, monkeypatch):
    """Their losses are sums over pixels: a step's gradient is longer than the 1 that it is clipped to."""
    task, before = task_of(), []
    clip = nn.utils.clip_grad_norm_
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", lambda *given: before.append(float(clip(*given))))
    defense.model_copy(update={"steps": 5}).fit(task)
    assert len(before) == 5 and min(before) > 1


@pytest.mark.parametrize("lam", [0.0, 0.5])
def test_sfron_takes_turns_and_masks_the_forget_step_alone(lam):
    edit, defense = toy_edit(), SFRon(steps=10, lam=lam, alpha=2.0)
    mask = defense.mask(edit)
    assert 0 < float(flat(mask).mean()) < 1
    for step in (0, 1, 4, 5):
        ours, (pair,) = left_by(defense, edit, step), edit.pairs(step, step + 1)
        batch = pair.keep if step % 2 else pair.forget
        *_, (x_t, t, label, _) = edit.network.asked
        assert bool(((label == 1) == (step % 2 == 0)).all())
        sums = (edit.network(x_t, t, label) - batch.noise).square().flatten(1).sum(1)  # over pixels, as published
        weights = 8 * sums.detach() ** -lam / (sums.detach() ** -lam).sum()
        strength = 2.0 * (1 + math.cos(math.pi * (step // 2) / 5)) / 2
        expected = gradient(edit, sums.mean() if step % 2 else -strength * (weights * sums).mean())
        check_close(ours, expected if step % 2 else [g * m for g, m in zip(expected, mask, strict=True)])
    assert float(edit.notes["mask_density"]) == pytest.approx(float(flat(mask).mean()))
    assert SFRon(steps=300).strength(0) == 10 and 0 < SFRon(steps=300).strength(149) < 0.01


@pytest.mark.parametrize("threshold", [0.5, 1.0, 3.0])
def test_the_mask_compares_clipped_squared_batch_gradients(threshold):
    edit, squares = toy_edit(4), []
    for indices in (edit.task.forget.nonzero()[:, 0], (~edit.task.forget).nonzero()[:, 0]):
        found = []
        for rows in indices.split(4):
            stream = edit.stream("sfron mask")
            t, noise = stream.integers(rows, T, draw=0), stream.normal(rows, (1, 4, 4), draw=1)
            x_t = add_noise(edit.task.schedule, edit.task.images[rows], t, noise)
            sums = (edit.network(x_t, t, edit.task.labels[rows]) - noise).square().flatten(1).sum(1)
            whole = flat(gradient(edit, sums.mean()))
            found.append((whole / max(1.0, float(whole.norm()))) ** 2)
        squares.append(torch.stack(found).mean(0))
    expected = (squares[0] + 1e-15) / (squares[1] + 1e-15) >= threshold
    assert torch.equal(flat(SFRon(threshold=threshold).mask(edit)) == 1, expected)
    assert 0 < int(expected.sum()) < len(expected)


def test_masked_weights_move_with_the_shared_moments(monkeypatch):
    """The first forget step has no momentum, so masked weights stand; after a remain step they move."""
    seen, leave, task = [], Edit.leave, task_of()
    monkeypatch.setattr(Edit, "leave", lambda edit, g: (seen.append(flat(edit.parameters)), leave(edit, g)))
    defense = SFRon(steps=4, batch=8, lr=1e-3)
    mask = flat(defense.mask(Edit(task, trainable(task.base.network, CPU), task.base.network, 8)))
    defense.fit(task)
    still = [(a == b)[mask == 0].float().mean() for a, b in pairwise(seen)]
    assert still[0] == 1 and still[2] < 0.1

"""dp_sgd follows the noisy sum of clipped gradients of each image's loss: against loops, opacus and its own formula."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from scipy import stats
from torch import nn

from leakbench.api import AuditSetting
from leakbench.defenses import _clipping
from leakbench.defenses._private import Mechanism, Step
from leakbench.defenses.dp_sgd import DPSGD
from leakbench.models import networks
from leakbench.models.networks import NetworkSpec
from leakbench.models.training import loop
from leakbench.runtime.device import place
from leakbench.runtime.errors import UsageError

pytestmark = pytest.mark.usefixtures("remembered_divergences")

SPECS = {
    "mlp": NetworkSpec(kind="mlp", shape=(1, 8, 8), width=32, blocks=2),
    "mlp, labels": NetworkSpec(kind="mlp", shape=(1, 8, 8), width=32, blocks=2, conditions=3),
    "unet": NetworkSpec(kind="unet", shape=(1, 8, 8), width=8, blocks=1),
    "unet, labels": NetworkSpec(kind="unet", shape=(2, 10, 10), width=8, blocks=1, conditions=3),
}
SMALL = {"steps": 6, "noise_multiplier": 1.0, "batch": 8, "noise_multiplicity": 2}


@pytest.fixture
def setting(digits_task):
    """setting(spec, draws, ...): a mechanism on ten random images, a network, and a step of all of them."""

    def make(kind, draws=2, clip=1.0, noise=0.0, rate=1.0, stage=0, count=10):
        spec = SPECS[kind]
        images = digits_task.streams.of("images").normal(torch.arange(count), spec.shape)
        task = replace(
            digits_task,
            images=images,
            labels=torch.arange(count) % 3 if spec.conditions else None,
            condition="label" if spec.conditions else "none",
            network=spec,
        )
        mechanism = Mechanism(task, rate, draws, clip, noise, True, stage)
        network = networks.build(spec, task.streams.of("weights")).train()
        return mechanism, network, mechanism.steps(0, 1)[0]

    return make


def alone(mechanism, network, step, i):
    """The gradient of image i's loss, written out: the flat vector and whether it is of one number a parameter."""
    task, draws = mechanism.task, mechanism.draws
    total = torch.zeros(())
    for k in range(i * draws, (i + 1) * draws):
        t, noise, which = step.t[k : k + 1], step.noise[k : k + 1], step.index[i : i + 1]
        kept = torch.tensor(task.schedule.alpha_bar[int(t)])
        x = (kept.sqrt() * task.images[which] + (1 - kept).sqrt() * noise).float()
        label = None if task.labels is None else task.labels[which]
        total = total + (network(x, t, label) - noise).square().mean() / draws
    return flat(torch.autograd.grad(total, list(network.parameters())))


def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


def left(network):
    return flat([parameter.grad for parameter in network.parameters()])


def of(step, index):
    """A step of one of its images alone."""
    draws = len(step.t) // len(step.index)
    rows = slice(index * draws, (index + 1) * draws)
    return Step(step.number, step.index[index : index + 1], step.t[rows], step.noise[rows])


def close(ours, reference, tolerance=1e-5):
    return float((ours - reference).norm() / reference.norm()) < tolerance


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("kind", SPECS)
def test_clipped_sums_norms_and_gradients_equal_a_loops(kind, draws, setting):
    mechanism, network, step = setting(kind, draws)
    gradients = torch.stack([alone(mechanism, network, step, i) for i in range(10)])
    norms = gradients.norm(dim=1)
    clip = float(norms.median())  # some are clipped and some are not
    (found,) = _clipping.clipped_sum(network, lambda piece: mechanism.losses(network, step, piece), 10, draws, clip)
    assert close(found, norms)
    assert close(left(network), (gradients * (clip / norms).clamp(max=1.0)[:, None]).sum(dim=0))
    for i in range(10):
        replace(mechanism, clip=1e9).rule(network, of(step, i))
        assert close(left(network) * mechanism.expected, gradients[i])


@pytest.mark.parametrize("kind", SPECS)
def test_no_image_moves_the_sum_by_more_than_the_clip(kind, setting):
    mechanism, network, step = setting(kind, draws=2, clip=1e-2)
    for i in range(10):
        mechanism.rule(network, of(step, i))
        norm = float(left(network).norm()) * mechanism.expected
        assert 0.999 * mechanism.clip < norm <= mechanism.clip * (1 + 1e-6)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # opacus
@pytest.mark.parametrize("ghost", [False, True])
@pytest.mark.parametrize("kind", ["mlp", "mlp, labels"])
def test_the_sum_is_that_of_opacus_in_either_of_its_modes(kind, ghost, setting):
    """An MLP takes an image's draws as a sequence, so opacus clips per image there as well."""
    mechanism, network, step = setting(kind, draws=3, clip=0.7)
    mechanism.rule(network, step)
    ours = left(network) * mechanism.expected
    fresh = networks.build(network.spec, mechanism.task.streams.of("weights")).train()
    wrapped = (GradSampleModuleFastGradientClipping if ghost else GradSampleModule)(fresh, loss_reduction="sum")
    kept = torch.from_numpy(mechanism.task.schedule.alpha_bar)[step.t].view(-1, 1, 1, 1)
    x0 = mechanism.images[step.index].repeat_interleave(3, dim=0)
    x = (kept.sqrt() * x0 + (1 - kept).sqrt() * step.noise).float().unflatten(0, (10, 3))
    label = None if mechanism.labels is None else mechanism.labels[step.index].repeat_interleave(3).view(10, 3)
    answer = wrapped(x, step.t.view(10, 3), label)
    losses = (answer - step.noise.unflatten(0, (10, 3))).square().flatten(1).mean(dim=1)
    losses.sum().backward(retain_graph=True)
    if ghost:
        weight = (0.7 / (wrapped.get_norm_sample() + 1e-6)).clamp(max=1.0)
        fresh.zero_grad()
        wrapped.disable_hooks()
        (weight * losses).sum().backward()
        assert close(ours, left(fresh))
    else:
        gradients = torch.cat([p.grad_sample.flatten(1) for p in fresh.parameters()], dim=1)
        weight = (0.7 / (gradients.norm(dim=1) + 1e-6)).clamp(max=1.0)
        assert close(ours, weight @ gradients)


@pytest.mark.parametrize("kind", ["mlp", "unet, labels"])
def test_pieces_add_up_to_the_whole(kind, setting, monkeypatch):
    mechanism, network, step = setting(kind)
    mechanism.rule(network, step)
    whole = left(network)
    monkeypatch.setattr(_clipping, "_AT_ONCE", 3 * len(whole))  # three images at a time, and one is left over
    norms = _clipping.clipped_sum(network, lambda piece: mechanism.losses(network, step, piece), 10, 2, 1.0)
    assert [len(piece) for piece in norms] == [3, 3, 3, 1]
    assert close(left(network) / mechanism.expected, whole, 1e-6)


def test_where_memory_runs_out_the_pieces_become_smaller(setting):
    mechanism, network, step = setting("mlp")
    mechanism.rule(network, step)
    sizes = []

    def losses(piece):
        sizes.append(piece.stop - piece.start)
        if sizes[-1] > 3:
            raise torch.cuda.OutOfMemoryError("no more")
        return mechanism.losses(network, step, piece)

    whole = left(network) * mechanism.expected
    _clipping.clipped_sum(network, losses, 10, 2, 1.0)
    assert sizes == [10, 8, 4, 2, 2, 2, 2, 2] and close(left(network), whole, 1e-6)


def test_without_clip_noise_and_sampling_it_is_the_plain_gradient(setting):
    mechanism, network, step = setting("mlp, labels", draws=1, clip=1e9)
    loss = mechanism.losses(network, step, slice(0, 10)).mean()
    plain = flat(torch.autograd.grad(loss, list(network.parameters())))
    mechanism.rule(network, step)
    assert close(left(network), plain)


def test_an_empty_batch_leaves_noise_alone_of_the_size_that_is_claimed(setting):
    mechanism, network, step = setting("mlp", clip=0.5, noise=3.0, rate=0.4)
    empty = replace(step, index=step.index[:0], t=step.t[:0], noise=step.noise[:0])
    noises = []
    for number in range(6):
        mechanism.rule(network, replace(empty, number=number))
        noises.append(left(network).double().numpy() * 4.0 / (3.0 * 0.5))  # times B over sigma C: z itself
    assert stats.kstest(np.concatenate(noises), "norm").pvalue > 1e-3
    correlations = np.corrcoef(noises)[np.triu_indices(6, 1)] * np.sqrt(len(noises[0]))
    assert np.abs(correlations).max() < 4.5
    mechanism.rule(network, replace(empty, number=5))
    assert np.array_equal(noises[5], left(network).double().numpy() * 4.0 / 1.5)
    replace(mechanism, stage=1).rule(network, replace(empty, number=5))
    assert not np.isclose(noises[5], left(network).double().numpy() * 4.0 / 1.5).any()


def test_the_noise_is_added_to_the_clipped_sum(setting):
    mechanism, network, step = setting("mlp", noise=2.0, rate=0.5)
    parts = []
    for one in (replace(mechanism, noise=0.0), mechanism):
        one.rule(network, step)
        parts.append(left(network))
    mechanism.rule(network, replace(step, index=step.index[:0], t=step.t[:0], noise=step.noise[:0]))
    assert close(parts[1] - parts[0], left(network))


def test_every_image_takes_part_by_a_coin_of_its_own(setting):
    mechanism, *_ = setting("mlp", rate=0.3)
    taken = np.zeros((4000, 10), dtype=int)
    for row, index in zip(taken, mechanism.sampled(torch.arange(4000)), strict=True):
        row[index.numpy()] = 1
        assert len(set(index.tolist())) == len(index)  # once at most
    assert all(stats.binomtest(int(count), 4000, 0.3).pvalue > 1e-4 for count in taken.sum(axis=0))
    sizes = np.bincount(taken.sum(axis=1), minlength=11)
    expected = stats.binom.pmf(np.arange(11), 10, 0.3) * 4000
    assert stats.chisquare([*sizes[:7], sizes[7:].sum()], [*expected[:7], expected[7:].sum()]).pvalue > 1e-4
    assert sizes[0] > 0  # some steps are empty
    assert np.abs(np.corrcoef(taken.T)[np.triu_indices(10, 1)]).max() * np.sqrt(4000) < 4.5
    everyone = replace(mechanism, rate=1.0).sampled(torch.arange(50))
    assert all(torch.equal(index, torch.arange(10)) for index in everyone)
    fixed = replace(mechanism, poisson=False).sampled(torch.arange(50))
    assert all(len(index) == 3 for index in fixed)


def test_a_steps_draws_do_not_depend_on_which_steps_are_made_together(setting):
    mechanism, *_ = setting("mlp", rate=0.3)
    together = mechanism.steps(0, 40)
    for one in [*mechanism.steps(3, 4), *mechanism.steps(17, 30)]:
        other = together[one.number]
        assert torch.equal(one.index, other.index) and torch.equal(one.t, other.t)
        assert torch.equal(one.noise, other.noise)
        assert len(one.t) == len(one.noise) == 2 * len(one.index)


class Mixed(nn.Sequential):
    """Layers of two linear maps and what stands between them, called as a denoiser is."""

    def forward(self, x, t, label=None):
        return super().forward(x.flatten(1)).view_as(x)


@pytest.mark.parametrize(
    "between, word",
    [
        (nn.BatchNorm1d(64), "BatchNorm1d, which mixes the images of a batch"),
        (nn.BatchNorm1d(64, affine=False), "BatchNorm1d, which mixes the images of a batch"),
        (nn.PReLU(), "PReLU: opacus has no sampler"),
    ],
)
def test_a_layer_whose_gradient_cannot_be_told_apart_is_refused_in_a_line(between, word, setting):
    mechanism, _, step = setting("mlp")
    with pytest.raises(UsageError, match=word) as caught:
        mechanism.rule(Mixed(nn.Linear(64, 64), between, nn.Linear(64, 64)), step)
    assert "\n" not in str(caught.value)


def test_a_layer_that_is_called_twice_or_shares_its_weights_is_refused(setting):
    mechanism, _, step = setting("mlp")
    shared = nn.Linear(64, 64)
    with pytest.raises(UsageError, match="exactly once"):
        mechanism.rule(Mixed(shared, nn.ReLU(), shared), step)
    tied = Mixed(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    tied[2].weight = tied[0].weight
    with pytest.raises(UsageError, match="share a parameter"):
        mechanism.rule(tied, step)


def test_training_leaves_a_plain_network(digits_task):
    made = DPSGD(**SMALL).fit(digits_task)
    network = made.networks["denoiser"]
    fresh = networks.build(digits_task.network, digits_task.streams.of("weights", "dp_sgd"))
    assert network.state_dict().keys() == fresh.state_dict().keys()
    assert not any(part._forward_hooks or part._backward_hooks for part in network.modules())
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    assert made.info["network_evaluations"] == 3 * 6 * 8 * 2
    assert DPSGD(**SMALL).cost().training == 3 * 6 * 8 * 2


def test_training_is_adam_along_these_gradients(setting):
    """On a falling rate, with no second clipping; without averaging the last weights are released."""
    mechanism, network, _ = setting("mlp", clip=2.0, noise=1.0, rate=0.5)
    same = {"noise_multiplier": 1.0, "clip": 2.0, "batch": 5, "noise_multiplicity": 2}
    defense = DPSGD(**same, steps=6, lr=0.02, ema=0.0)
    mechanism = replace(mechanism, own=defense.own)
    adam = torch.optim.Adam(network.parameters())
    for step in mechanism.steps(0, 6):
        adam.param_groups[0]["lr"] = 0.02 * (0.5 + 0.5 * np.cos(np.pi * step.number / 6))
        mechanism.rule(network, step)
        adam.step()
    above = replace(mechanism.task, base=mechanism.task.release(setting("mlp")[1]))
    made = defense.release(defense.fit(above), above).network
    assert close(flat(made.parameters()), flat(network.parameters()).detach(), 1e-6)


@pytest.mark.parametrize("kind, steps", [("mlp, labels", 300), ("unet", 40)])
def test_with_little_noise_it_learns(kind, steps, setting):
    """Answering nothing costs 1 a pixel, the noise's variance."""
    mechanism, _, step = setting(kind, count=40)
    few = {"steps": steps, "batch": 16, "noise_multiplier": 0.1, "lr": 3e-3, "ema": 0.9, "noise_multiplicity": 2}
    trained = DPSGD(**few, poisson=False).fit(mechanism.task).networks["denoiser"]
    with torch.no_grad():
        assert float(mechanism.losses(trained, step, slice(0, 40)).mean()) < 0.8


def same(one, other):
    pairs = zip(one.networks["denoiser"].parameters(), other.networks["denoiser"].parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(digits_task):
    one, again = (DPSGD(**SMALL).fit(digits_task) for _ in range(2))
    other = DPSGD(**SMALL).fit(replace(digits_task, streams=replace(digits_task.streams, seed=1)))
    assert same(one, again) and not same(one, other)


def test_a_killed_training_resumes_to_the_same_weights_and_claims(digits_task, tmp_path, monkeypatch):
    defense = DPSGD(steps=150, noise_multiplier=1.0, batch=8, noise_multiplicity=2)
    whole = defense.fit(digits_task)
    monkeypatch.setattr(loop, "_CHECKPOINT_EVERY", 50)
    monkeypatch.setattr(loop, "_CHUNK", 20)
    taken = []
    rule = Mechanism.rule
    monkeypatch.setattr(Mechanism, "rule", lambda self, net, step: (taken.append(step.number), rule(self, net, step)))

    def killed(share):
        if share > 0.75:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        defense.fit(replace(digits_task, folder=tmp_path, progress=killed))
    assert taken == list(range(120)) and [path.name for path in tmp_path.iterdir()] == ["dp_sgd.safetensors"]
    taken.clear()
    resumed = defense.fit(replace(digits_task, folder=tmp_path))
    assert taken == list(range(100, 150)) and not list(tmp_path.iterdir())  # from the checkpoint on
    assert same(whole, resumed) and resumed.info["guarantee"] == whole.info["guarantee"]
    assert resumed.info["guarantee"]["history"] == [[1.0, 0.2, 150]]


def test_a_batch_beyond_the_images_and_a_base_that_only_answers_are_refused_before_training(digits_task):
    from leakbench.defenses.baseline import Baseline
    from leakbench.defenses.cpsample import CPSample

    def asked(defense, *below, images=40):
        return defense.skip(AuditSetting(below, "none", "nothing", 1000, images))

    assert asked(DPSGD(batch=41)).reason == "batch = 41: it should be at most the number of training images, 40"
    assert asked(DPSGD(batch=40)) is None and asked(DPSGD()) is None and asked(DPSGD(), images=1) is None
    assert asked(DPSGD(), Baseline()) is None
    assert "cpsample below it changes only what is answered" in asked(DPSGD(), Baseline(), CPSample()).reason
    with pytest.raises(UsageError, match="at most the number of images, 40"):
        DPSGD(batch=41).fit(digits_task)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:.*deterministic")
@pytest.mark.parametrize("kind", SPECS)
def test_on_cuda_it_clips_in_half_precision_and_trains(kind, setting):
    """A sum is of the numbers that its norms are of, so rounding in the network does not loosen the clip."""
    mechanism, network, _ = setting(kind, clip=1e-2)
    mechanism = replace(mechanism, task=replace(mechanism.task, device=torch.device("cuda")))
    network = place(network, mechanism.task.device)
    (step,) = mechanism.steps(0, 1)
    for i in range(10):
        mechanism.rule(network, of(step, i))
        assert float(left(network).norm()) * mechanism.expected <= mechanism.clip * (1 + 1e-5)
    made = DPSGD(**SMALL).fit(mechanism.task).networks["denoiser"]
    assert all(bool(torch.isfinite(p).all()) and p.is_cuda for p in made.parameters())

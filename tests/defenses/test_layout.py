"""Unlearning and private training on a UNet, whose convolutions' gradients come in another memory order on a CPU."""

from dataclasses import replace

import pytest
import torch

from leakbench.defenses._unlearning import Edit
from leakbench.defenses.erasediff import EraseDiff
from leakbench.defenses.finetune import Finetune
from leakbench.models import networks
from leakbench.models.networks import NetworkSpec
from leakbench.models.training.loop import Recipe, optimise
from leakbench.testing import toy_rng, toy_task

STEPS = 4


@pytest.fixture(scope="module")
def task():
    """24 random images of 8x8 and a UNet of random weights that is to be edited."""
    small = toy_task(forget="subset")
    spec = NetworkSpec(kind="unet", shape=(1, 8, 8), width=16, blocks=1)
    network = networks.build(spec, small.streams.of("unet")).eval().requires_grad_(False)
    bare = replace(small, network=spec, forget=torch.arange(len(small.images)) % 4 == 0)
    return replace(bare, base=bare.release(network))


def flat(network):
    return torch.cat([p.detach().flatten() for p in network.state_dict().values()])


def test_finetuning_a_unet_is_adam_along_the_gradients_of_backward(task):
    """The same steps through .backward() and an Adam that is not fused."""
    defense = Finetune(steps=STEPS, batch=4, lr=1e-3)
    edited = defense.release(defense.fit(task), task).network
    from leakbench.models.denoiser_training import trainable

    edit = Edit(task, trainable(task.base.network, task.device), task.base.network, 4)
    module = edit.network
    adam = torch.optim.Adam(module.parameters(), lr=1e-3, fused=False)
    for step, pair in enumerate(edit.pairs(0, STEPS)):
        adam.param_groups[0]["lr"] = 1e-3 * (0.5 + 0.5 * torch.cos(torch.tensor(torch.pi * step / STEPS)).item())
        adam.zero_grad()
        edit.errors(module, pair.keep).mean().backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        adam.step()
    moved = (flat(module) - flat(task.base.network)).norm()
    apart = (flat(edited) - flat(module)).norm()
    # Not 0: Adam makes a whole step of a gradient that is rounding alone.
    assert apart < 0.05 * moved


def test_a_gradient_in_any_memory_order_gives_the_same_step():
    """A rule that leaves channels_last gradients on contiguous weights."""

    def go(order):
        layer = torch.nn.Conv2d(4, 4, 3)
        with torch.no_grad():
            for number, p in enumerate(layer.parameters()):
                p.copy_(torch.arange(p.numel()).view(p.shape) % 7 - 3.0 + number)

        def rule(module, step):
            for p in module.parameters():
                gradient = (torch.arange(p.numel()).view(p.shape) % 5 - 2.0) * (step + 1)
                p.grad = gradient.contiguous(memory_format=order) if p.dim() == 4 else gradient

        stream = toy_rng().of("layout")
        optimise(layer, rule, Recipe(5, lr=0.1), lambda first, last: range(first, last), stream=stream)
        return flat(layer)

    assert torch.equal(go(torch.contiguous_format), go(torch.channels_last))


def test_erasediff_edits_a_unet(task):
    release = EraseDiff(steps=2, batch=4).release(EraseDiff(steps=2, batch=4).fit(task), task)
    assert not torch.equal(flat(release.network), flat(task.base.network))
    assert bool(torch.isfinite(release.sample(2)).all())

"""Adam: torch's own numbers, without torch's compiler."""

from __future__ import annotations

import torch
from torch import nn

from leakbench.models.training.adam import Adam


def test_it_makes_the_steps_of_torchs_own_to_the_bit():
    start = torch.linspace(-1, 1, 12).reshape(3, 4)
    found = []
    for kind in (Adam, torch.optim.Adam):
        weight = nn.Parameter(start.clone())
        optimizer = kind([weight], lr=0.01, fused=True)
        for step in range(30):
            optimizer.param_groups[0]["lr"] = 0.01 / (1 + step)
            optimizer.zero_grad()
            assert weight.grad is None
            (weight.sin() * (step + weight)).sum().backward()
            optimizer.step()
            assert torch.is_grad_enabled()
        found.append((weight.detach(), *optimizer.state[weight].values()))
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(found[0][0], start)


_TRAINING = """
import sys
from torch import nn
from leakbench.models.training.loop import Recipe, train
from leakbench.runtime.device import Rng

if "torch._dynamo" in sys.modules:
    sys.exit("imported before")
options = {"stream": Rng("adam", 0).of("train"), "count": 5, "noise_shape": (4,)}
train(nn.Linear(4, 1), lambda module, batch: module(batch.noise).square().mean(), Recipe(2, batch=2), **options)
if "torch._dynamo" in sys.modules:
    sys.exit("imported by the training")
"""


def test_a_training_does_not_import_the_compiler(forkserver):
    process = forkserver.Process(target=exec, args=(_TRAINING, {"__name__": "__main__"}))
    process.start()
    process.join(60)
    assert process.exitcode == 0

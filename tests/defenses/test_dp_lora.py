"""dp_lora: dp_sgd's steps on the factors alone, and a network of the base's shape with their products in it."""

from dataclasses import replace

import pytest
import torch

from leakbench.api import Guarantee
from leakbench.defenses._accounting import spent
from leakbench.defenses._private import Mechanism
from leakbench.defenses.dp_lora import Adapter, DPLoRA, adapted_layers
from leakbench.models import networks
from leakbench.models.networks import NetworkSpec
from leakbench.testing import toy_task

SPECS = {
    "mlp": NetworkSpec(kind="mlp", shape=(1, 8, 8), width=24, blocks=1, conditions=2),
    "unet": NetworkSpec(kind="unet", shape=(1, 8, 8), width=16, blocks=1, conditions=2),
}
SHORT = {"steps": 6, "batch": 8, "noise_multiplicity": 2, "noise_multiplier": 0.5, "lr": 0.01, "rank": 2}
pytestmark = pytest.mark.usefixtures("remembered_divergences")


@pytest.fixture(params=SPECS)
def task(request):
    """A task over a public network of random weights."""
    small = replace(toy_task("label"), network=SPECS[request.param])
    network = networks.build(small.network, small.streams.of("public")).eval().requires_grad_(False)
    return replace(small, base=small.release(network, guarantee=Guarantee(epsilon=0, delta=0, history=())))


def released(defense, task):
    return defense.release(defense.fit(task), task)


def test_it_begins_as_its_base_and_trains_the_factors_alone(task):
    adapted = DPLoRA(rank=2).start(task).eval()
    x, t, label = task.images[:5], torch.full((5,), 300), torch.arange(5) % 2
    assert torch.equal(adapted(x, t, label), task.base.network(x, t, label))
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert trained and all(name.endswith(("down.weight", "up.weight")) for name in trained)


def test_a_unet_gets_adapters_on_its_attention_and_nowhere_else():
    network = networks.build(SPECS["unet"], toy_task().streams.of("any"))
    found = {name.rpartition("attentions.")[2].partition(".")[2] for name in adapted_layers(network)}
    assert found == {"to_q", "to_k", "to_v", "to_out.0"}


def test_its_step_is_the_noisy_sum_of_clipped_gradients_of_the_factors(task):
    """Against each image's gradient by autograd, from factors that are not zero."""
    module = DPLoRA(rank=2).start(task).train()
    factors = [p for p in module.parameters() if p.requires_grad]
    with torch.no_grad():
        for number, p in enumerate(factors):
            p.copy_(torch.sin(torch.arange(p.numel()) + number).view(p.shape) / 3)
    mechanism = Mechanism(task, 1.0, 2, 0.05, 0.0, True, 0)
    step = mechanism.steps(0, 1)[0]
    mechanism.rule(module, step)
    expected = [torch.zeros_like(p) for p in factors]
    for one in range(len(step.index)):
        loss = mechanism.losses(module, step, slice(one, one + 1)).mean()
        found = torch.autograd.grad(loss, factors)
        norm = torch.cat([g.flatten() for g in found]).norm()
        for total, g in zip(expected, found, strict=True):
            total += g * min(1.0, 0.05 / float(norm)) / len(task.images)
    for p, total in zip(factors, expected, strict=True):
        assert torch.allclose(p.grad, total, atol=1e-6, rtol=1e-3)


def test_what_is_handed_out_is_the_base_and_products_of_the_rank(task):
    release = released(DPLoRA(**SHORT), task)
    before, after = task.base.network.state_dict(), release.network.state_dict()
    assert before.keys() == after.keys()
    adapted = {f"{name}.weight" for name in adapted_layers(task.base.network)}
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved == adapted
    for key in adapted:
        values = torch.linalg.svdvals((after[key] - before[key]).double())
        assert (values > 1e-5 * values[0]).sum() <= 2


def test_merging_changes_no_answer():
    layer = torch.nn.Linear(6, 5)
    adapter = Adapter(layer, rank=9)
    assert adapter.down.out_features == 5  # no more than the layer can have
    with torch.no_grad():
        adapter.up.weight.copy_(torch.arange(25).view(5, 5) / 9)
    x = torch.arange(18).view(3, 6) / 7
    answer = adapter(x)
    assert torch.allclose(adapter.merged()(x), answer, atol=1e-5)


def test_it_claims_what_dp_sgd_claims_for_the_same_steps(task):
    found = released(DPLoRA(**SHORT), task).guarantee
    assert found.history == ((0.5, 8 / 24, 6),)
    assert found.epsilon == spent(found.history, 24**-1.1).epsilon
    unknown = replace(task, base=replace(task.base, guarantee=Guarantee()))
    assert "without differential privacy" in released(DPLoRA(**SHORT), unknown).guarantee.void

"""What a differentially private step costs beside a plain one on the same B x K rows: the gradient alone, pair by pair.

    pytest benchmarks/speed/test_dp_step.py -s

A round times the plain gradient (forward, backward, mean over rows), dp_sgd's (clipped by image, noise added) and those
of opacus's two modes one after the other; the ratios of a round are to its own plain one, so that a busy machine slows
both, and their medians are printed and kept in `extra_info`. On the CUDA device where there is one, by the clock; else
processor time of one thread.

opacus's ghost mode takes an image's K draws as a sequence, which a UNet cannot: there it clips each row by itself, and
so says what its step costs and not what it computes. Adam, EMA and the drawing of t and noise are the same for all and
left out.
"""

import statistics
import time
import warnings
from collections.abc import Callable

import pytest
import torch
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from torch import Tensor, nn

from leakbench.api import Task
from leakbench.defenses import _private as private
from leakbench.models import networks
from leakbench.models.denoiser_training import errors
from leakbench.models.diffusion import Schedule, add_noise
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.device import Rng, autocast, place, prepare

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CASES = {
    "mlp 64x1": (NetworkSpec(kind="mlp", shape=(1, 8, 8), width=256, blocks=4), 64, 1, 25),
    "mlp 64x4": (NetworkSpec(kind="mlp", shape=(1, 8, 8), width=256, blocks=4), 64, 4, 25),
    "unet 16x4": (NetworkSpec(kind="unet", shape=(1, 16, 16), width=16, blocks=1), 16, 4, 7),
}


class Bench:
    """One network four times over, and one step's draws."""

    def __init__(self, spec: NetworkSpec, images: int, draws: int) -> None:
        prepare(DEVICE)
        streams = Rng("speed", 0)
        pixels = streams.of("images").normal(torch.arange(images), spec.shape)
        rest = (None, None, "none", torch.arange(images), pixels, spec, Schedule(), streams, DEVICE)
        self.spec, self.images, self.draws = spec, images, draws
        self.mechanism = private.Mechanism(Task(pixels, *rest), 1.0, draws, 1.0, 1.0, True, 0)
        (self.step,) = self.mechanism.steps(0, 1)
        self.x0 = self.mechanism.images.repeat_interleave(draws, dim=0)

    def network(self) -> nn.Module:
        """A fresh one, the same every time."""
        return place(networks.build(self.spec, Rng("speed", 0).of("weights")), DEVICE).train()

    def plain(self) -> Callable[[], object]:
        """The mean over all rows."""
        network, step = self.network(), self.step

        def go() -> None:
            network.zero_grad()
            with autocast(DEVICE):
                loss = errors(network, Schedule(), self.x0, step.t, step.noise).mean()
            loss.backward()

        return go

    def ours(self) -> Callable[[], object]:
        """dp_sgd's."""
        network = self.network()
        return lambda: self.mechanism.rule(network, self.step)

    def losses(self, network: nn.Module, sequence: bool) -> Tensor:
        """Of each image where its draws are a sequence, else of each row, over K."""
        x, t, noise = add_noise(Schedule(), self.x0, self.step.t, self.step.noise), self.step.t, self.step.noise
        if sequence:
            x, t, noise = (values.unflatten(0, (self.images, self.draws)) for values in (x, t, noise))
        error = (network(x, t) - noise).square().flatten(1).mean(dim=1)
        return error if sequence else error / self.draws

    def hooks(self) -> Callable[[], object]:
        """opacus's hooks: a gradient of each image, then the sum of the clipped."""
        network, sequence = self.network(), self.spec.kind == "mlp"
        wrapped = GradSampleModule(network, loss_reduction="sum")

        def go() -> None:
            for parameter in network.parameters():
                parameter.grad_sample = None
            self.losses(wrapped, sequence).sum().backward()
            found = [p.grad_sample for p in network.parameters()]
            if not sequence:
                found = [gradient.unflatten(0, (self.images, self.draws)).sum(dim=1) for gradient in found]
            norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in found]).norm(dim=0)
            weight = (1.0 / (norms + 1e-6)).clamp(max=1.0)
            for parameter, gradient in zip(network.parameters(), found, strict=True):
                parameter.grad = torch.einsum("i,i...->...", weight, gradient)
            noise_gradients(network)

        return go

    def ghost(self) -> Callable[[], object]:
        """opacus's ghost clipping: norms in a first backward pass, the sum in a second."""
        network, sequence = self.network(), self.spec.kind == "mlp"
        wrapped = GradSampleModuleFastGradientClipping(network, loss_reduction="sum")

        def go() -> None:
            losses = self.losses(wrapped, sequence)
            losses.sum().backward(retain_graph=True)
            network.zero_grad()
            weight = wrapped.get_clipping_coef()
            wrapped.disable_hooks()
            (weight * losses).sum().backward()
            wrapped.enable_hooks()
            noise_gradients(network)

        return go


def noise_gradients(network: nn.Module) -> None:
    for parameter in network.parameters():
        assert parameter.grad is not None
        parameter.grad.add_(torch.randn_like(parameter))


def seconds(go: Callable[[], object]) -> float:
    clock = time.process_time if DEVICE.type == "cpu" else time.perf_counter
    began = clock()
    go()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return clock() - began


def short(value: float) -> float:
    return float(f"{value:.3g}")


@pytest.mark.parametrize("case", CASES)
def test_a_private_step_beside_a_plain_one(benchmark, case):
    """Ratios to the plain step, medians over rounds of pairs."""
    spec, images, draws, rounds = CASES[case]
    bench = Bench(spec, images, draws)
    steps = {"plain": bench.plain(), "dp_sgd": bench.ours(), "opacus hooks": bench.hooks(), "ghost": bench.ghost()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # opacus's backward hooks, at inputs that need no gradient
        for go in [*steps.values()] * 2:
            seconds(go)
        times = {name: [] for name in steps}
        for _ in range(rounds):
            for name, go in steps.items():
                times[name].append(seconds(go))
    said = {f"{name} / plain": ratio(times, name, "plain") for name in times if name != "plain"}
    found = {name: short(statistics.median(spent)) for name, spent in times.items()}
    same = ["opacus hooks", "ghost"] if spec.kind == "mlp" else ["opacus hooks"]  # peers that compute what dp_sgd does
    peer = min(same, key=lambda name: found[name])
    benchmark.extra_info |= said | {
        "claim": f"a differentially private gradient, {case} on {DEVICE.type}",
        "ours": found["dp_sgd"],
        "peer": found[peer],
        "peer_name": {"ghost": "opacus's ghost clipping", "opacus hooks": "opacus's hooks"}[peer],
        "ratio": ratio(times, peer, "dp_sgd"),
        "floor": found["plain"],
        "floor_name": "the plain gradient of the same rows",
    }
    told = ", ".join(f"{name} {value}" for name, value in said.items())
    beside = f"dp_sgd {benchmark.extra_info['ratio']} times as fast as {benchmark.extra_info['peer_name']}"
    print(f"\n{case} on {DEVICE.type}: plain {1e3 * found['plain']:.1f} ms; {told}; {beside}")
    benchmark.pedantic(steps["dp_sgd"], rounds=rounds)


def ratio(times: dict[str, list[float]], above: str, below: str) -> float:
    """Median over rounds."""
    return short(statistics.median(a / b for a, b in zip(times[above], times[below], strict=True)))

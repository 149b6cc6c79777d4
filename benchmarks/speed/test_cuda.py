"""What the CUDA harness saves: bf16, channels_last, compiling, and a distance's moments on the device, pair by pair.

    pytest benchmarks/speed/test_cuda.py -s

A round times one way and then the other on the same inputs, so that a busy machine slows both; the median of the
rounds' ratios is printed and kept in `extra_info`. Nothing is measured without a CUDA device. Compiling itself is left
out of the ratio and told beside it: a run counts it (leakbench/device/compiling.py says when it is tried at all).
"""

import statistics
import time
from collections.abc import Callable

import pytest
import torch

from leakbench.metrics.frechet_distance import moments
from leakbench.models import networks
from leakbench.models.diffusion import Schedule, denoise
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.device import Rng, autocast, compile, place, prepare

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

CUDA, ROUNDS = torch.device("cuda"), 7
SPEC, BATCH = NetworkSpec(kind="unet", shape=(3, 32, 32), width=128, blocks=2), 128


def network(laid_out: bool = True) -> torch.nn.Module:
    prepare(CUDA)
    made = networks.build(SPEC, Rng("speed", 0).of("weights"))
    return place(made, CUDA) if laid_out else made.to(CUDA)


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.arange(BATCH, device=CUDA)
    return Rng("speed", 0).of("images").normal(ids, SPEC.shape), ids % 1000


def seconds(go: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    began = time.perf_counter()
    go()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def compare(benchmark, name: str, before: Callable[[], object], after: Callable[[], object]) -> None:
    """How many times faster `after` is; the first call of each, which may compile, is not counted but told."""
    firsts = seconds(before), seconds(after)
    old, new = [], []
    benchmark.pedantic(
        lambda: new.append(seconds(after)), setup=lambda: old.append(seconds(before)), rounds=ROUNDS, warmup_rounds=1
    )
    ratio = statistics.median(a / b for a, b in zip(old, new, strict=True))
    benchmark.extra_info["times faster"] = round(ratio, 2)
    print(f"\n{name}: {ratio:.2f} times faster ({statistics.median(new):.4f} s; first call {firsts[1]:.1f} s)")


def step(module: torch.nn.Module, half: bool = True) -> Callable[[], object]:
    """A training step's forward and backward pass."""
    x, t = inputs()

    def go() -> None:
        module.zero_grad()
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=half):
            value = (module(x, t) - x).square().mean()
        value.backward()

    return go


def test_bf16_beside_float32(benchmark):
    module = network().train()
    compare(benchmark, "bf16 training step", step(module, half=False), step(module))


def test_channels_last_beside_the_usual_order(benchmark):
    compare(benchmark, "channels_last training step", step(network(False).train()), step(network().train()))


def test_a_compiled_training_step_beside_a_plain_one(benchmark):
    plain, other = network().train(), network().train()
    other.forward = compile.compile_forward(other.forward, CUDA)
    compare(benchmark, "compiled training step", step(plain), step(other))


def test_a_compiled_sampling_walk_beside_a_plain_one(benchmark):
    plain, other = (network().eval().requires_grad_(False) for _ in range(2))
    other.forward = compile.compile_forward(other.forward, CUDA)
    x, _ = inputs()

    def walk(module: torch.nn.Module) -> Callable[[], object]:
        def go() -> None:
            with torch.no_grad(), autocast(CUDA):
                denoise(Schedule(steps=10), lambda x, t, label: module(x, t, label), x)

        return go

    compare(benchmark, "compiled sampling walk of 10 steps", walk(plain), walk(other))


def test_moments_on_the_device_beside_the_cpu(benchmark):
    features = Rng("speed", 0).of("features").normal(torch.arange(10_000, device=CUDA), (2048,))
    compare(
        benchmark,
        "moments of 10,000 x 2,048 features",
        lambda: moments(features.cpu()),
        lambda: moments(features),
    )

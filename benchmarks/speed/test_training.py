"""What training and CPSample's guidance cost beside diffusers' example loop and beside their networks alone.

    OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 pytest benchmarks/speed/test_training.py -s

A round runs ours, each peer and the floor one after the other: processor time of one thread on the CPU, so that other
programs on the machine do not count, and the clock on CUDA (marked gpu), between two waits for the device. What is said
is the median of each and of the rounds' ratios peer / ours: above 1, ours is faster.

The peer of training is the loop of diffusers' examples/unconditional_image_generation/train_unconditional.py, step for
step: randn and randint, DDPMScheduler.add_noise, the mean squared error, clip_grad_norm_ at 1, AdamW, a cosine with
warm-up, EMAModel with its own warm-up, the loss read out for the progress bar. What would slow it is left out: its
DataLoader (both index images in memory) and accelerate (called directly, as with one process). Both train the same
network on the same images in the same batch; building it is not timed, making optimiser and average is.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from leakbench.api import Release, Task
from leakbench.defenses.cpsample import ProtectedRelease
from leakbench.models import networks
from leakbench.models.denoiser_training import train_denoiser
from leakbench.models.diffusion import Schedule, full_timesteps
from leakbench.models.networks import NetworkSpec
from leakbench.models.training.loop import Recipe
from leakbench.runtime.device import Rng, place, prepare

CUDA = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
)
MLP = NetworkSpec(kind="mlp", shape=(1, 8, 8), width=160, blocks=4)
# network, batch, steps of a round, rounds
CPU_CASES = {
    "mlp 8x8": (MLP, 64, 64, 9),
    "unet 16x16": (NetworkSpec(kind="unet", shape=(1, 16, 16), width=16, blocks=1), 16, 8, 7),
    "unet 32x32": (NetworkSpec(kind="unet", shape=(3, 32, 32), width=32, blocks=2), 16, 2, 5),
}
CUDA_CASES = {"unet 32x32, width 128": (NetworkSpec(kind="unet", shape=(3, 32, 32), width=128, blocks=2), 128, 20, 5)}
IMAGES, STREAMS = 256, Rng("speed", 0)
Go = Callable[[], object]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def seconds(go: Go, device: torch.device) -> float:
    if device.type == "cpu":
        began = time.process_time()
        go()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    go()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def beside(
    benchmark, claim: str, ways: dict[str, Callable[[], Go]], device: torch.device, rounds: int, units: int, floor: str
) -> None:
    """Time "ours", the peers and "floor" in turn, and keep the times of one of `units` steps. Each way is made anew
    before it is timed. Where there is no peer, the floor stands in its place."""
    times: dict[str, list[float]] = {name: [] for name in ways}

    def round() -> None:
        for name, make in ways.items():
            times[name].append(seconds(make(), device) / units)

    benchmark.pedantic(round, rounds=rounds, warmup_rounds=1)
    times = {name: spent[1:] for name, spent in times.items()}  # without the warm-up
    found = {name: statistics.median(spent) for name, spent in times.items()}
    peers = [name for name in ways if name not in ("ours", "floor")] or ["floor"]
    fastest = min(peers, key=lambda name: found[name])
    ratio, over = (
        statistics.median(a / b for a, b in zip(times[above], times[below], strict=True))
        for above, below in ((fastest, "ours"), ("ours", "floor"))
    )
    benchmark.extra_info |= {
        "claim": claim,
        "ours": short(found["ours"]),
        "peer": short(found[fastest]),
        "peer_name": floor if fastest == "floor" else fastest,
        "ratio": short(ratio),
        "floor": short(found["floor"]),
        "floor_name": floor,
        "ours / floor": short(over),
        "peers": {name: short(found[name]) for name in peers if name != "floor"},
    }
    shown = ", ".join(f"{name} {1e3 * value:.3g} ms" for name, value in found.items())
    print(f"\n{claim}: {ratio:.2f} times {fastest}, {over:.3f} of the floor ({shown}; the floor is {floor})")


def short(value: float) -> float:
    return float(f"{value:.3g}")


def task_of(spec: NetworkSpec, device: torch.device) -> Task:
    pixels = STREAMS.of("images").uniform(torch.arange(IMAGES), spec.shape).float() * 2 - 1
    groups = torch.arange(IMAGES)
    return Task(pixels.to(device), None, None, "none", groups, pixels[:4], spec, Schedule(), STREAMS, device)


def fresh(spec: NetworkSpec, device: torch.device, laid_out: bool = True) -> nn.Module:
    """The same network every time, in our memory format or in torch's usual one."""
    made = networks.build(spec, STREAMS.of("weights")).train()
    return place(made, device) if laid_out else made.to(device)


@contextmanager
def freely(device: torch.device) -> Iterator[None]:
    """Without the deterministic kernels that leakbench asks for and a peer does not."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False
    try:
        yield
    finally:
        if device.type == "cuda":
            torch.use_deterministic_algorithms(before, warn_only=True)
            torch.backends.cudnn.deterministic = True


def examples_loop(
    network: nn.Module, images: torch.Tensor, batch: int, steps: int, recipe: Recipe, half: bool = False
) -> Go:
    """The training loop of diffusers' example, with its own settings where ours has none."""
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel

    device = images.device

    def go() -> None:
        scheduler = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
        ema = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=recipe.lr, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
        )
        rate = get_scheduler("cosine", optimizer=optimizer, num_warmup_steps=500, num_training_steps=steps + 500)
        for _ in range(steps):
            clean = images[torch.randint(0, len(images), (batch,), device=device)]
            noise = torch.randn(clean.shape, dtype=clean.dtype, device=device)
            timesteps = torch.randint(0, scheduler.config.num_train_timesteps, (batch,), device=device).long()
            noisy = scheduler.add_noise(clean, noise, timesteps)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                output = network(noisy, timesteps)
            loss = F.mse_loss(output.float(), noise.float())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
            optimizer.step()
            rate.step()
            optimizer.zero_grad()
            ema.step(network.parameters())
            loss.detach().item()

    def go_freely() -> None:
        with freely(device):
            go()

    return go_freely


def bare(network: nn.Module, spec: NetworkSpec, batch: int, steps: int, device: torch.device) -> Go:
    """Forward and backward, and nothing else."""
    noise = STREAMS.of("noise").normal(torch.arange(batch, device=device), spec.shape)
    t = torch.arange(batch, device=device) * 7

    def go() -> None:
        for _ in range(steps):
            network.zero_grad()
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                loss = F.mse_loss(network(noise, t), noise)
            loss.backward()

    return go


def train_beside_diffusers(benchmark, case: str, found: tuple[NetworkSpec, int, int, int], device: torch.device):
    spec, batch, steps, rounds = found
    prepare(device)
    task, recipe = task_of(spec, device), Recipe(steps, batch)

    def ours() -> Go:
        network = fresh(spec, device)
        return lambda: train_denoiser(task, recipe, "speed", network=network)

    def peer(half: bool = False) -> Go:
        return examples_loop(fresh(spec, device, laid_out=False), task.images, batch, steps, recipe, half)

    peers = {"diffusers' example loop": peer}
    if device.type == "cuda":
        peers["diffusers' example loop, bf16"] = lambda: peer(half=True)
    beside(
        benchmark,
        f"a training step of {case} in batches of {batch} on {device.type}",
        {"ours": ours, **peers, "floor": lambda: bare(fresh(spec, device), spec, batch, steps, device)},
        device,
        rounds,
        steps,
        "forward and backward of the bare network",
    )


@pytest.mark.parametrize("case", CPU_CASES)
def test_training_beside_diffusers(benchmark, case):
    train_beside_diffusers(benchmark, case, CPU_CASES[case], torch.device("cpu"))


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("case", CUDA_CASES)
def test_training_beside_diffusers_on_cuda(benchmark, case, device):
    """The goal is 1.5 times, of the example's default precision, float32."""
    train_beside_diffusers(benchmark, case, CUDA_CASES[case], torch.device(device))


# CPSample's step ------------------------------------------------------------------------------------------------------


def protected(spec: NetworkSpec, device: torch.device, alpha: float, direction: str) -> ProtectedRelease:
    """Two networks with fresh weights, of which the classifier's logits are all within 2: alpha = 0.5 opens its gate
    for all images, and alpha = 1e-6 for none."""
    ready = [fresh(one, device).eval().requires_grad_(False) for one in (spec, spec.model_copy(update=LOGIT))]
    base = Release(ready[0], Schedule(), STREAMS, spec.shape, device)
    shuffle = None
    if direction == "random":
        pixels = torch.arange(spec.shape[0] * spec.shape[1] * spec.shape[2], device=device)
        shuffle = (pixels.flip(0), 1.0 - 2.0 * (pixels % 2).float())
    return ProtectedRelease.wrap(base, parts={"classifier": ready[1]}, alpha=alpha, scale=1.0, shuffle=shuffle)


LOGIT = {"outputs": "logit"}
GUIDES = {"all gates open": (0.5, "classifier"), "no gate open": (1e-6, "classifier"), "random": (0.5, "random")}
SAMPLING = {"mlp 8x8": (MLP, 256, 20), "unet 16x16": (CPU_CASES["unet 16x16"][0], 32, 4)}


def guide_beside_the_floor(benchmark, case: str, spec: NetworkSpec, batch: int, steps: int, gates: str, device):
    prepare(device)
    release = protected(spec, device, *GUIDES[gates])
    denoiser, classifier = release.network, release.parts["classifier"]
    x = STREAMS.of("x").normal(torch.arange(batch, device=device), spec.shape)
    t = full_timesteps(500, x)

    def ours() -> None:
        with torch.no_grad():
            for _ in range(steps):
                release.eps(x, t)

    def floor() -> None:
        for _ in range(steps):
            with torch.no_grad():
                denoiser(x, t)
            leaf = x.clone().requires_grad_(True)
            torch.autograd.grad(classifier(leaf, t).sum(), leaf)

    beside(
        benchmark,
        f"a step of CPSample, {case} x {batch} on {device.type}, {gates}",
        {"ours": lambda: ours, "floor": lambda: floor},
        device,
        9,
        steps,
        "denoiser forward, classifier forward and backward",
    )


@pytest.mark.parametrize("gates", GUIDES)
@pytest.mark.parametrize("case", SAMPLING)
def test_cpsample_beside_its_floor(benchmark, case, gates):
    """The goal is 1.15 of the floor at most."""
    guide_beside_the_floor(benchmark, case, *SAMPLING[case], gates, torch.device("cpu"))


@pytest.mark.parametrize("device", [CUDA])
def test_cpsample_beside_its_floor_on_cuda(benchmark, device):
    spec = CUDA_CASES["unet 32x32, width 128"][0]
    guide_beside_the_floor(benchmark, "unet 32x32", spec, 256, 5, "all gates open", torch.device(device))

"""What training and CPSample's guidance cost beside diffusers' example loop and beside their networks alone.

    pytest benchmarks/speed/test_training.py -s

The peer of training is the loop of diffusers' examples/unconditional_image_generation/train_unconditional.py, step for
step: randn and randint, DDPMScheduler.add_noise, the mean squared error, clip_grad_norm_ at 1, AdamW, a cosine with
warm-up, EMAModel with its own warm-up, the loss read out for the progress bar. What would slow it is left out: its
DataLoader (both index images in memory) and accelerate (called directly, as with one process). Both train the same
network on the same images in the same batch; building it is not timed, making optimiser and average is.
"""

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
    "unet 32x32": (NetworkSpec(kind="unet", shape=(3, 32, 32), width=32, blocks=2), 16, 4, 9),
}
CUDA_CASES = {"unet 32x32, width 128": (NetworkSpec(kind="unet", shape=(3, 32, 32), width=128, blocks=2), 128, 20, 5)}
IMAGES, STREAMS = 256, Rng("speed", 0)
Go = Callable[[], object]


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


def train_beside_diffusers(race, case: str, found: tuple[NetworkSpec, int, int, int], device: torch.device):
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
    race(
        f"training {case}, batches of {batch}, {device.type}",
        ours,
        peers,
        lambda: bare(fresh(spec, device), spec, batch, steps, device),
        "forward and backward of the bare network",
        rounds=rounds,
        at_least=1.5 if device.type == "cuda" else 1,
        device=device.type,
        anew=True,
    )


@pytest.mark.parametrize("case", CPU_CASES)
def test_training_beside_diffusers(race, case):
    train_beside_diffusers(race, case, CPU_CASES[case], torch.device("cpu"))


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("case", CUDA_CASES)
def test_training_beside_diffusers_on_cuda(race, case, device):
    """The goal is 1.5 times, of the example's default precision, float32."""
    train_beside_diffusers(race, case, CUDA_CASES[case], torch.device(device))


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


def guide_beside_the_floor(race, case: str, spec: NetworkSpec, batch: int, steps: int, gates: str, device):
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

    race(
        f"a step of CPSample, {case} x {batch}, {device.type}, {gates}",
        ours,
        {"its floor": floor},
        floor,
        "denoiser forward, classifier forward and backward",
        rounds=9,
        at_most=1.15,
        device=device.type,
    )


@pytest.mark.parametrize("gates", GUIDES)
@pytest.mark.parametrize("case", SAMPLING)
def test_cpsample_beside_its_floor(race, case, gates):
    """The goal is 1.15 of the floor at most."""
    guide_beside_the_floor(race, case, *SAMPLING[case], gates, torch.device("cpu"))


@pytest.mark.parametrize("device", [CUDA])
def test_cpsample_beside_its_floor_on_cuda(race, device):
    spec = CUDA_CASES["unet 32x32, width 128"][0]
    guide_beside_the_floor(race, "unet 32x32", spec, 256, 5, "all gates open", torch.device(device))

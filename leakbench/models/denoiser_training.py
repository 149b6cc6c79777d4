"""The denoiser's loss, and training one on a task: what the baseline does and what other defenses start from.

DDPM's simple loss (Ho et al. 2020, 2006.11239, eq. 14), as a mean over pixels. Much published code sums over pixels: a
constant that weighs such a loss against something else has to be adapted by the number of pixels.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leakbench.data.image_view import ImageView
from leakbench.models import networks
from leakbench.models.diffusion import Schedule, add_noise
from leakbench.models.task import Artefacts, Task
from leakbench.models.training.gradients import Batch, Loss
from leakbench.models.training.loop import Recipe, Watch, train
from leakbench.models.training.stacked import train_together
from leakbench.runtime.device import place

_WEIGHTS = "weights."


def errors(
    module: nn.Module, schedule: Schedule, x0: Tensor, t: Tensor, noise: Tensor, label: Tensor | None = None
) -> Tensor:
    """The squared error of the predicted noise, mean over pixels, of each image: (N,)."""
    answer = module(add_noise(schedule, x0, t, noise), t, label)
    return (answer - noise).square().flatten(1).mean(dim=1)


def train_denoiser(
    task: Task,
    recipe: Recipe,
    name: str,
    *,
    network: networks.Network | None = None,
    drawn: Callable[[Batch], Tensor] | None = None,
    versions: int = 1,
    watch: Watch | None = None,
) -> Artefacts:
    """Minimise the simple loss on the task's images, or on what `drawn` makes of a batch's numbers. Returns the
    network as "denoiser".

    `name` is the defense's: its training streams belong to it alone. `network`: trained in place of a fresh one.
    `drawn(batch)` answers images (B, C, H, W) on the task's device. Where it knows each image in several `versions`,
    `batch.index` is image * versions + version: both drawn at once, uniformly. The labels are those of the images.
    """
    network = network or networks.build(task.network, task.streams.of("weights", name))
    images, labels = task.images.to(task.device), task.conditions
    labels = None if labels is None else labels.to(task.device)

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        x0 = images[batch.index] if drawn is None else drawn(batch)
        x_t = add_noise(task.schedule, x0, batch.t, batch.noise)
        label = None if labels is None else labels[batch.index // versions]
        return F.mse_loss(module(x_t, batch.t, label), batch.noise)

    prefetch = images.prefetch if drawn is None and isinstance(images, ImageView) else None
    return minimise(task, network, loss, recipe, name, count=len(images) * versions, watch=watch, prefetch=prefetch)


def train_watched(
    task: Task,
    recipe: Recipe,
    name: str,
    *,
    network: networks.Network,
    every: int,
    stop: Callable[[nn.Module], bool],
    **more: Any,
) -> tuple[Artefacts, list[int]]:
    """`train_denoiser`, looked at by `stop` every `every` steps until it says so, and once at the end. Returns what was
    made, and the steps after which it was looked at: the last is how many were taken. `more`: as there.
    """
    looks: list[int] = []

    def look(module: nn.Module) -> bool:
        looks.append(every * (len(looks) + 1))
        return stop(module)

    made = train_denoiser(task, recipe, name, network=network, watch=Watch(every, look), **more)
    done = made.info["network_evaluations"] // (3 * recipe.batch)
    if done not in looks:
        stop(network)
        looks.append(done)
    return made, looks


def minimise(
    task: Task,
    network: networks.Network,
    loss: Loss,
    recipe: Recipe,
    name: str,
    *,
    count: int | None = None,
    timesteps: int | None = None,
    noise_shape: tuple[int, ...] | None = None,
    watch: Watch | None = None,
    prefetch: Callable[[Sequence[Tensor]], None] | None = None,
) -> Artefacts:
    """Train a network on the task with a loss of one's own: place it, keep checkpoints, tell the progress, keep the
    books. Returns it as "denoiser".

    A batch has `index` below `count` (the number of images), `t` below `timesteps` (T), `noise` of `noise_shape` (an
    image's); `loss(module, batch)` is called with them on the task's device and is a mean over the batch.
    `prefetch`: see leakbench.models.training.loop.train.
    """
    done = 0

    def progress(steps: int) -> None:
        nonlocal done
        done = steps
        if task.progress:
            task.progress(steps / recipe.steps)

    began = time.perf_counter()
    train(
        place(network, task.device),
        loss,
        recipe,
        stream=task.streams.of("train", name),
        count=count or len(task.images),
        timesteps=timesteps or task.schedule.T,
        noise_shape=noise_shape or task.network.shape,
        checkpoint=task.folder and task.folder / f"{name}.safetensors",
        progress=progress,
        watch=watch,
        prefetch=prefetch,
    )
    spent = recipe.evaluations * done // recipe.steps  # a watch may have ended it early
    return Artefacts(
        {"denoiser": network}, info={"train_seconds": time.perf_counter() - began, "network_evaluations": spent}
    )


def train_denoisers(tasks: Sequence[Task], recipe: Recipe, name: str) -> list[Artefacts]:
    """`train_denoiser` on several tasks at once, in one batched pass. They differ in their images, labels and streams.

    Each network becomes what it would have become alone, but for rounding. Their seconds are shared out evenly.
    """
    began, first = time.perf_counter(), tasks[0]
    found = [place(networks.build(t.network, t.streams.of("weights", name)), first.device) for t in tasks]
    streams = [task.streams.of("train", name) for task in tasks]
    file = f"{name}-{hashlib.sha256(repr(streams).encode()).hexdigest()[:16]}.safetensors"  # of these and no others

    def progress(steps: int) -> None:
        for task in tasks:
            if task.progress:
                task.progress(steps / recipe.steps)

    train_together(
        found,
        _losses(tasks),
        recipe,
        streams=streams,
        counts=[len(task.images) for task in tasks],
        timesteps=first.schedule.T,
        noise_shape=first.network.shape,
        checkpoint=first.folder and first.folder / file,
        progress=progress,
    )
    share = (time.perf_counter() - began) / len(tasks)
    facts = {"train_seconds": share, "network_evaluations": recipe.evaluations}
    return [Artefacts({"denoiser": network}, info=dict(facts)) for network in found]


def _losses(tasks: Sequence[Task]) -> Callable[[nn.Module, Batch], Tensor]:
    """The simple loss of each network of a stack on its own task: (K,)."""
    device, schedule, lengths = tasks[0].device, tasks[0].schedule, [len(task.images) for task in tasks]
    images = ImageView.concatenate([task.images for task in tasks]).to(device)
    known = [task.conditions for task in tasks if task.conditions is not None]
    labels = torch.cat(known).to(device) if known else None
    starts = torch.tensor([0, *lengths[:-1]], device=device).cumsum(0)

    def losses(module: nn.Module, batch: Batch) -> Tensor:
        rows = starts + batch.index  # (B, K)
        flat = add_noise(schedule, images[rows].flatten(0, 1), batch.t.flatten(), batch.noise.flatten(0, 1))
        answer = module(flat.unflatten(0, rows.shape), batch.t, None if labels is None else labels[rows])
        return (answer - batch.noise).square().flatten(2).mean(dim=(0, 2))

    return losses


def trainable(network: nn.Module, device: torch.device) -> nn.Module:
    """A copy of a released network that can be trained further."""
    return place(copy.deepcopy(network), device).requires_grad_(True)


def export_weights(network: nn.Module) -> dict[str, Tensor]:
    """All its weights by name, for the tensors of an artefact: a released network may be of any kind (one behind a
    mask, say), which its `spec` does not tell how to build."""
    return {_WEIGHTS + key: value for key, value in network.state_dict().items()}


def with_weights(network: nn.Module, tensors: dict[str, Tensor], device: torch.device) -> nn.Module:
    """A copy of a released network with the weights that `export_weights` put among an artefact's tensors."""
    edited = copy.deepcopy(network)
    found = {key.removeprefix(_WEIGHTS): value for key, value in tensors.items() if key.startswith(_WEIGHTS)}
    edited.load_state_dict({key: value.to(device) for key, value in found.items()})
    return edited.eval().requires_grad_(False)

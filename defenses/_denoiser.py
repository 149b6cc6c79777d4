"""Training a denoiser on a task: what the baseline does and what other defenses start from."""

from __future__ import annotations

import time

from torch import Tensor, nn
from torch.nn import functional as F

from leakbench import networks
from leakbench.api import Artefacts, Task
from leakbench.device import place
from leakbench.diffusion import forward_noise
from leakbench.training import Batch, Recipe, train


def train_denoiser(task: Task, recipe: Recipe, name: str) -> Artefacts:
    """Minimise the simple loss of DDPM (Ho et al. 2020, eq. 14), mean over pixels, on the task's images.

    `name` is the defense's: its training streams belong to it alone. Returns the network as "denoiser".
    """
    network = networks.build(task.network, task.streams.of("weights", name))
    images, labels = task.images.to(task.device), task.conditions
    labels = None if labels is None else labels.to(task.device)

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        x_t = forward_noise(task.schedule, images[batch.index], batch.t, batch.noise)
        return F.mse_loss(module(x_t, batch.t, None if labels is None else labels[batch.index]), batch.noise)

    began = time.perf_counter()
    train(
        place(network, task.device),
        loss,
        recipe,
        stream=task.streams.of("train", name),
        count=len(images),
        timesteps=task.schedule.T,
        noise_shape=task.network.shape,
        checkpoint=task.folder and task.folder / f"{name}.safetensors",
        progress=task.progress and (lambda done: task.progress(done / recipe.steps)),
    )
    info = {"train_seconds": time.perf_counter() - began, "network_evaluations": recipe.evaluations}
    return Artefacts({"denoiser": network}, info=info)

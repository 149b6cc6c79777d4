"""CPSample: classifier-protected sampling (2409.07025, ICLR 2025).

Every protected image gets a random binary label, and a classifier over-fits those labels: they carry no signal, so it
can be sure of one only near an image that it has memorised. While sampling, whenever it is too sure, the step is guided
towards the opposite label. With p = p_phi(y = 1 | x_t, t), per image:

    p <     alpha:  eps_hat = eps_theta - s sqrt(1 - alpha_bar_t) grad_x log p
    p > 1 - alpha:  eps_hat = eps_theta - s sqrt(1 - alpha_bar_t) grad_x log(1 - p)
    otherwise:      eps_hat = eps_theta

Choices of ours, where the paper is silent: the classifier sees the noisy x_t and t, and is trained on early timesteps
more than on late ones (t = T u^2, u uniform), where noise leaves nothing to memorise; it has the denoiser's own
architecture with one logit; near-duplicates share a label, and with `flip` so do mirror images; log p comes from the
logit by logsigmoid (log of a rounded p would vanish or be infinite); the gate is strict, so alpha = 0 never fires and
is plain DDIM bit for bit. `direction = "random"` is the control: the same gate and norm, but the gradient's pixels are
shuffled and their signs flipped by one fixed random signed permutation.

Of a latent model it is all latents: x_t, the noise, the classifier and its gradient, which is added to the guided eps
of a model that is served with classifier-free guidance; and `flip` mirrors latents, which are nearly, not exactly,
those of the mirrored image.

The classifier is trained on members: no differential privacy of the base survives it, and it ships as
parts["classifier"].
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import log, prod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from leakbench.api import Artefacts, Cost, Defense, Release, Task, fit_param, release_param, void_guarantee
from leakbench.data.image_view import ImageView
from leakbench.models import networks
from leakbench.models.diffusion import add_noise, alpha_sigma, full_timesteps
from leakbench.models.training.gradients import Batch
from leakbench.models.training.loop import Recipe, train
from leakbench.runtime.device import RngStream, in_batches, place

from ._gated import GatedRelease

_PROBED = 10  # timesteps at which the classifier's accuracy is measured
_PROBE_IMAGES = 500  # on so many images of a side: a share is then known to 4 points


def random_labels(groups: Tensor, stream: RngStream) -> Tensor:
    """Fair coins (N,), float32, one for each group of near-duplicates."""
    return stream.integers(groups, 2).float()


def early(t: Tensor, T: int) -> Tensor:
    """Uniform timesteps turned into early ones, t^2 / T: where much noise has hidden the image there is nothing to
    learn."""
    return t.square() // T


def opposite_gradient(classifier: nn.Module, x: Tensor, t: Tensor, bound: float) -> tuple[Tensor, Tensor | None]:
    """Which images' logits are beyond +-bound, bool (N,), and the gradient (N, C, H, W) of the log-probability of the
    label that the classifier does NOT favour. None in place of the gradient where no logit of the batch is: going back
    through the classifier takes as long as asking it, and most steps of a walk have no gate open."""
    with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        x = x.detach().float().requires_grad_(True)
        size = classifier(x, t).abs()
        beyond = size.detach() > bound
        if not beyond.any():
            return beyond, None
        unlikely = F.logsigmoid(-size)  # log p where p < 1/2, log(1 - p) where p > 1/2
        (gradient,) = torch.autograd.grad(unlikely.sum(), x)
    return beyond, gradient


@dataclass(frozen=True)
class ProtectedRelease(GatedRelease):
    """Guided away from what the classifier in parts["classifier"] has memorised."""

    alpha: float = 0.0
    scale: float = 0.0
    shuffle: tuple[Tensor, Tensor] | None = None  # permutation of pixels and their signs: the control

    def guided(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """eps_hat (N, C, H, W) and whether the gate fired (N,)."""
        eps = self.unguided(x, t, label)
        if self.alpha == 0:
            return eps, torch.zeros(len(x), dtype=torch.bool, device=x.device)
        # p < alpha or p > 1 - alpha, in logits: |logit| > log((1 - alpha) / alpha)
        bound = log((1.0 - self.alpha) / self.alpha)
        gate, gradient = opposite_gradient(self.parts["classifier"], x, t, bound)
        if gradient is None:
            return eps, gate
        if self.shuffle is not None:
            order, signs = self.shuffle
            gradient = (gradient.flatten(1)[:, order] * signs).view_as(gradient)
        sigma = alpha_sigma(self.schedule, t, x)[1]
        return torch.where(gate.view(-1, 1, 1, 1), eps - self.scale * sigma * gradient, eps), gate


class CPSample(Defense):
    """Classifier-protected sampling."""

    name = "cpsample"
    summary = "guides samples away from what a classifier over-fitted on random labels recognises (CPSample)"
    needs_base = True
    changes = "sampling"
    ships = frozenset({"classifier"})

    steps: int = fit_param(10_000, ge=1)
    batch: int = fit_param(128, ge=1)
    lr: float = fit_param(1e-3, gt=0)
    width: int | None = fit_param(None, ge=1)  # None: the denoiser's
    blocks: int | None = fit_param(None, ge=1)
    flip: bool = fit_param(False)
    alpha: float = release_param(0.25, ge=0, le=0.5)
    scale: float = release_param(10.0, ge=0)
    direction: Literal["classifier", "random"] = release_param("classifier")

    @property
    def recipe(self) -> Recipe:
        """Recipe of the classifier's training."""
        return Recipe(self.steps, self.batch, self.lr)

    def cost(self) -> Cost:
        """Cost of the recipe, and of the classifier, forward and backward, wherever a gate can open.

        At most: a compute batch of which no gate is open is not gone back through."""
        return Cost(self.recipe.evaluations, extra_per_step=0.0 if self.alpha == 0 else 3.0)

    def fit(self, task: Task) -> Artefacts:
        """Over-fit the noise-conditioned classifier on random labels."""
        sizes = {"width": self.width, "blocks": self.blocks}
        own = {"conditions": 0, "outputs": "logit"} | {k: v for k, v in sizes.items() if v is not None}
        classifier = networks.build(task.network.model_copy(update=own), task.streams.of("weights", self.name))
        images = task.images.to(task.device)
        labels = random_labels(task.near_duplicate_groups, task.streams.of("labels", self.name)).to(task.device)

        def loss(module: nn.Module, batch: Batch) -> Tensor:
            x0 = images[batch.index]
            if self.flip:  # every other row mirrored: both orientations are learnt under one label
                mirrored = (torch.arange(len(x0), device=x0.device) + batch.start + batch.t) % 2 == 1
                x0 = torch.where(mirrored.view(-1, 1, 1, 1), x0.flip(-1), x0)
            t = early(batch.t, task.schedule.T)
            x_t = add_noise(task.schedule, x0, t, batch.noise)
            return F.binary_cross_entropy_with_logits(module(x_t, t), labels[batch.index])

        began = time.perf_counter()
        train(
            place(classifier, task.device),
            loss,
            self.recipe,
            stream=task.streams.of("train", self.name),
            count=len(images),
            timesteps=task.schedule.T,
            noise_shape=task.network.shape,
            checkpoint=task.folder and task.folder / f"{self.name}.safetensors",
            progress=task.progress and (lambda done: task.progress(done / self.steps)),
        )
        info: dict[str, Any] = {
            "train_seconds": time.perf_counter() - began,
            "network_evaluations": self.recipe.evaluations,
        }
        info["classifier_accuracy_by_t"] = accuracy_by_t(classifier, task, images, labels)
        return Artefacts({"classifier": classifier}, info=info)

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Put the guidance before the base's sampler."""
        assert task.base is not None
        shuffle = None
        if self.direction == "random":
            stream, pixels = task.streams.of("shuffle", self.name), torch.arange(prod(task.network.shape))
            shuffle = (
                stream.uniform(pixels, draw=0).argsort().to(task.device),
                (2.0 * stream.integers(pixels, 2, draw=1) - 1.0).float().to(task.device),
            )
        return ProtectedRelease.wrap(
            task.base,
            guarantee=void_guarantee(task.base, "cpsample's classifier is trained on members"),
            parts={"classifier": artefacts.networks["classifier"]},
            info={"classifier_accuracy_by_t": artefacts.info["classifier_accuracy_by_t"]},
            alpha=self.alpha,
            scale=self.scale,
            shuffle=shuffle,
            network_calls=task.base.network_calls + self.cost().extra_per_step,
        )


def accuracy_by_t(classifier: nn.Module, task: Task, images: ImageView, labels: Tensor) -> dict[str, list[float]]:
    """Accuracy on members' labels and on fresh coins for held-out images, the first 500 of each, at spaced timesteps.

    Near 1 on members at small t is memorising; on held-out images nothing but 1/2 is possible. `confident` is the share
    of held-out images with |p - 1/2| > 0.49: how often a gate near alpha = 0.01 would fire without cause.
    """
    probed = [i * task.schedule.T // _PROBED for i in range(_PROBED)]
    members, labels = images[:_PROBE_IMAGES], labels[:_PROBE_IMAGES]
    heldout = task.heldout[:_PROBE_IMAGES].to(task.device)
    numbers = torch.arange(len(heldout), device=task.device)
    coins = task.streams.of("labels", "held-out").integers(numbers, 2).float()
    rows: dict[str, list[float]] = {"t": [float(t) for t in probed], "member": [], "heldout": [], "confident": []}
    for t in probed:
        for name, x0, truth in (("member", members, labels), ("heldout", heldout, coins)):
            logit = _logits(classifier, task, x0, t, name)
            rows[name].append(float(((logit > 0) == (truth > 0.5)).float().mean()))
        rows["confident"].append(float(((torch.sigmoid(logit) - 0.5).abs() > 0.49).float().mean()))
    return rows


def _logits(classifier: nn.Module, task: Task, x0: Tensor, t: int, name: str) -> Tensor:
    noise = task.streams.of("probe", name).normal(torch.arange(len(x0), device=x0.device), tuple(x0.shape[1:]), draw=t)
    x_t = add_noise(task.schedule, x0, full_timesteps(t, x0), noise)
    with torch.no_grad():
        return in_batches(lambda x: classifier(x, full_timesteps(t, x)), x_t, size=256)

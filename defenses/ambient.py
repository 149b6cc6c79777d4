"""Ambient Diffusion: training images with missing pixels (Daras et al. 2023, 2305.19256).

Every image has one fixed mask A, which keeps a pixel with probability 1 - p: what it hides is never seen. In each
training step a further mask B hides a share delta of the rest. The network D sees A B x_t and A B, and is judged on all
that A shows, so it has to fill in pixels without knowing which of the hidden ones will be asked for:

    loss = w_t mean over pixels of ||A (D(A B x_t, A B, t) - x_0)||^2

Samples are drawn with one fixed mask that keeps (1 - p)(1 - delta), the same in all steps and for all samples.

Choices of ours: D predicts x_0, since the noise of a pixel that is hidden cannot be told. EDM's preconditioning and
weight are tied to its noise levels; for our timesteps, which are uniform, w_t = min(SNR_t, 5) with SNR_t = abar_t /
(1 - abar_t) (min-SNR, Hang et al. 2303.09556), and of the preconditioning there is EDM's c_skip for data of standard
deviation 1/2, in a form that holds for hidden pixels too: a pixel is the mean of what it shows and of what the network
F guesses, weighed by their precisions, D = (SNR_t x_t / sqrt(abar_t) + 4 F) / (SNR_t + 4) where it is seen and D = F
where it is hidden, so F answers x_0 everywhere. The mean is over all C H W pixels, hidden ones counting zero: each
shown pixel weighs the same, as published. B is drawn anew in each step (the published code fixes one B an image, by the
seed of its A). A mask hides a pixel in all its channels. The sampling mask is drawn once by the seed and is a part of
the model: what is handed out is eps(x, t) = (x - sqrt(abar_t) D(A x, A, t)) / sqrt(1 - abar_t), a function of x and t
like any other, whose gradients reach F, so that every defense and attack composes. D is not clipped to [-1, 1] there
(its gradient would vanish); the sampler clips the finished image. No reconstruction guidance (the published default is
0).

The paper trains on up to 30,000 images. With a few hundred every fixed mask gives its image away to D, while the
sampling mask is one that D has never met: that may be why quality falls fast with p there, less with a larger delta.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.special import ndtri

from leakbench.api import Artefacts, AuditSetting, Release, Skip, Task, fit_param
from leakbench.models import networks
from leakbench.models.denoiser_training import minimise
from leakbench.models.diffusion import Schedule, add_noise, alpha_sigma
from leakbench.models.networks import Network, NetworkSpec
from leakbench.models.training.gradients import Batch
from leakbench.runtime.errors import UsageError

from .baseline import Baseline

_PRECISION = 4.0  # of a guess, before anything is seen: data of standard deviation 1/2
_LARGEST_WEIGHT = 5.0


def snr(schedule: Schedule, t: Tensor, like: Tensor) -> Tensor:
    """SNR_t for t (N,), shaped to multiply `like` (N, C, H, W)."""
    scale, sigma = alpha_sigma(schedule, t, like)
    return (scale / sigma).square()


def predicted(
    network: nn.Module, schedule: Schedule, x: Tensor, seen: Tensor, t: Tensor, label: Tensor | None = None
) -> Tensor:
    """D (N, C, H, W) of x_t, seen through masks `seen` (N, C, H, W) of 0 and 1."""
    shown, precision = seen * x, seen * snr(schedule, t, x)
    guess = network(torch.cat([shown, seen], dim=1), t, label)
    scale, _ = alpha_sigma(schedule, t, x)
    x0: Tensor = (precision / scale * shown + _PRECISION * guess) / (precision + _PRECISION)
    return x0


class MaskedDenoiser(nn.Module):
    """eps(x, t, label) of a network that predicts x_0 from what one fixed mask shows. Has the task's own `spec`."""

    mask: Tensor

    def __init__(self, inner: nn.Module, mask: Tensor, schedule: Schedule, spec: NetworkSpec) -> None:
        """`mask` (C, H, W): 1 where x is seen, else 0."""
        super().__init__()
        self.spec, self.schedule, self.inner = spec, schedule, inner
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        x0 = predicted(self.inner, self.schedule, x, self.mask.to(x.dtype).expand_as(x), t, label)
        scale, sigma = alpha_sigma(self.schedule, t, x)
        eps: Tensor = (x - scale * x0) / sigma
        return eps


class Ambient(Baseline):
    """Training-data masking."""

    name = "ambient"
    summary = "trains on images with missing pixels (Ambient Diffusion)"
    role = "defense"
    changes = "data"

    p: float = fit_param(0.4, ge=0, lt=1)
    delta: float = fit_param(0.1, ge=0, lt=1)

    def skip(self, setting: AuditSetting) -> Skip | None:
        """Refuse masks that hide a whole image, which teach nothing."""
        if setting.images * self.p**setting.pixels < 0.5 or not setting.pixels:
            return None
        return Skip(f"p = {self.p} hides every pixel of some of the {setting.images} training images: use a smaller p")

    def masks(self, task: Task) -> tuple[Tensor, Tensor]:
        """A of the training images (N, 1, H, W) and the sampling mask (C, H, W), float32 of 0 and 1, on the device.

        Raises UsageError where one hides everything.
        """
        channels, height, width = task.network.shape
        stream, shape = task.streams.of("masks", self.name), (1, height, width)
        numbers = torch.arange(len(task.images), device=task.device)
        shown = (stream.uniform(numbers, shape) < 1 - self.p).float()
        one = task.streams.of("sampling mask", self.name).uniform(numbers[:1], shape)
        sampled = (one < (1 - self.p) * (1 - self.delta)).float()[0]
        if hidden := int((shown.flatten(1).sum(dim=1) == 0).sum()):
            raise UsageError(f"ambient: p = {self.p} hides every pixel of {hidden} training images; use a smaller p")
        if not bool(sampled.any()):
            raise UsageError(
                f"ambient: p = {self.p}, delta = {self.delta} hide the whole sampling mask; use smaller ones"
            )
        return shown, sampled.expand(channels, height, width).contiguous()

    def fit(self, task: Task) -> Artefacts:
        """Train D."""
        channels, height, width = task.network.shape
        spec = task.network.model_copy(update={"extra_channels": channels})
        network = networks.build(spec, task.streams.of("weights", self.name))
        images, (shown, sampled) = task.images.to(task.device), self.masks(task)
        labels = None if task.conditions is None else task.conditions.to(task.device)
        # B is where a further channel of the noise lies below the normal's (1 - delta) quantile.
        quantile = float(ndtri(torch.tensor(1 - self.delta, dtype=torch.float64)))

        def loss(module: nn.Module, batch: Batch) -> Tensor:
            x0, noise, a = images[batch.index], batch.noise[:, :channels], shown[batch.index]
            seen = (a * (batch.noise[:, channels:] < quantile)).expand_as(x0)
            x_t = add_noise(task.schedule, x0, batch.t, noise)
            label = None if labels is None else labels[batch.index]
            weight = snr(task.schedule, batch.t, x0).clamp_max(_LARGEST_WEIGHT)
            return (weight * (a * (predicted(module, task.schedule, x_t, seen, batch.t, label) - x0)).square()).mean()

        shape = (channels + 1, height, width)
        made = minimise(task, network, loss, self.recipe, self.name, noise_shape=shape)
        info = made.info | {"share_seen": float(shown.mean()), "share_seen_sampling": float(sampled.mean())}
        return Artefacts({"inner": made.networks["denoiser"]}, {"mask": sampled}, info)

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """D behind the sampling mask, as a network that answers eps."""
        inner: Network = artefacts.networks["inner"]
        network = MaskedDenoiser(inner, artefacts.tensors["mask"], task.schedule, task.network).to(task.device)
        return task.release(network.eval().requires_grad_(False))

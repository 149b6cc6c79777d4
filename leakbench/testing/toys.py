"""Toys for plugin authors' tests: images, a task, releases and views, made in milliseconds on one CPU core.

    images = toy_images(16)
    view = toy_view(Access.DENOISER, images)
    scores = MyAttack().score(view, images, None)              # (16,)

    task = toy_task(base=toy_release())
    defense = MyDefense()
    release = defense.release(defense.fit(task), task)         # release.eps, release.sample(5)

Images are float32 (N, 1, 8, 8) in [-1, 1]. All is deterministic: equal arguments give equal bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, TypedDict, Unpack, overload

import torch
from torch import Tensor, nn

from leakbench.api import Access, AuxiliaryModel, Defense, Release, Task
from leakbench.api.answer_cache import AnswerCache, QueriedRelease
from leakbench.api.views import VIEWS, ApiView, DenoiserView, NoneView, SamplesView, WeightsView
from leakbench.data.image_view import ImageView
from leakbench.models import networks
from leakbench.models.diffusion import Schedule, alpha_sigma
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.device import Rng

COUNT = 24  # images of a toy task
SHAPE = (1, 8, 8)  # of a toy image

Condition = Literal["none", "label", "attribute"]
Forget = Literal["nothing", "subset", "label"]


def toy_rng() -> Rng:
    """Random streams of all toys."""
    return Rng("conformance", 0)


def toy_images(count: int = COUNT, purpose: str = "images") -> Tensor:
    """Images (count, 1, 8, 8), float32 in [-1, 1]: blurred noise. Another `purpose` gives unrelated images; a longer
    batch of one purpose begins with the shorter one."""
    noise = toy_rng().of("conformance", purpose).normal(torch.arange(count), SHAPE)
    return torch.nn.functional.avg_pool2d(noise, 3, stride=1, padding=1).mul(2.0).clamp(-1, 1)


def toy_network(condition: str = "none") -> NetworkSpec:
    """Spec of the toy network: a small MLP; conditioned on two labels unless `condition` is "none"."""
    return NetworkSpec(kind="mlp", shape=SHAPE, width=32, blocks=1, conditions=0 if condition == "none" else 2)


def toy_task(
    condition: str = "none", forget: Forget = "nothing", base: Release | None = None, chain: tuple[Defense, ...] = ()
) -> Task:
    """A task of 24 training images and 24 held-out ones, with labels and an attribute of 0 and 1.

    condition: what the network is conditioned on: "none", "label" or "attribute". forget: "nothing"; "subset" names
    every fourth image; "label" names those of label 0. base: the release that the defense builds on, such as
    `toy_release(condition=condition)`. chain: the defenses under it.
    """
    label = forget == "label"
    return Task(
        images=ImageView(toy_images(COUNT, "images")),
        labels=torch.arange(COUNT) % 2,
        attribute=torch.arange(COUNT) % 2,
        condition=condition,
        forget=None if forget == "nothing" else torch.arange(COUNT) % (2 if label else 4) == 0,
        forget_label=0 if label else None,
        chain=chain,
        near_duplicates=torch.arange(COUNT),
        heldout=ImageView(toy_images(COUNT, "held-out")),
        network=toy_network(condition),
        schedule=Schedule(steps=5),
        streams=toy_rng(),
        device=torch.device("cpu"),
        base=base,
        heldout_conditions=None if condition == "none" else torch.arange(COUNT) % 2,
    )


def toy_release(
    batch: int = 16, condition: str = "none", weights: str = "plain", memorised: Tensor | None = None
) -> Release:
    """A release of random weights, T = 1000, sampled in five steps.

    batch: images of a compute batch. weights: names which random weights. memorised: images (N, 1, 8, 8); the network
    is then the exact denoiser of these images (`MemorisingNetwork`), from which a membership attack tells them.
    """
    network: Any
    if memorised is None:
        network = networks.build(toy_network(condition), toy_rng().of(weights))
    else:
        network = MemorisingNetwork(memorised, toy_network(condition))
    return toy_task(condition).release(network.eval().requires_grad_(False), batch=batch)


class MemorisingNetwork(nn.Module):
    """The noise prediction that minimises the training loss on some images (N, C, H, W), in closed form.

    eps = (x_t - sqrt(alpha_bar_t) E[x_0 | x_t]) / sqrt(1 - alpha_bar_t), where x_0 is each of the images with equal
    probability. It ignores labels.
    """

    def __init__(self, images: Tensor, spec: NetworkSpec, schedule: Schedule | None = None) -> None:
        super().__init__()
        self.spec, self._schedule = spec, schedule or Schedule()
        self.register_buffer("images", images)
        self.images: Tensor

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """eps (N, C, H, W) for x (N, C, H, W) at t (N,)."""
        scale, sigma = alpha_sigma(self._schedule, t, x)
        distances = (x[:, None] - scale[:, None] * self.images).flatten(2).square().sum(dim=2)
        weights = torch.softmax(-distances / (2 * sigma.view(-1, 1).square()), dim=1)
        x0 = (weights @ self.images.flatten(1)).view_as(x)
        return (x - scale * x0) / sigma


class ViewOptions(TypedDict, total=False):
    """Further arguments of `toy_view`, all of them optional."""

    labels: Tensor | None  # (N,): what the network is conditioned on
    release: Release  # what is attacked; by default `toy_release()`
    auxiliary_models: Sequence[AuxiliaryModel]  # those that the attack asks for
    raw: bool  # answers are the raw network's instead of the service's


@overload
def toy_view(access: Literal[Access.NONE], images: Tensor, **options: Unpack[ViewOptions]) -> NoneView: ...
@overload
def toy_view(access: Literal[Access.SAMPLES], images: Tensor, **options: Unpack[ViewOptions]) -> SamplesView: ...
@overload
def toy_view(access: Literal[Access.API], images: Tensor, **options: Unpack[ViewOptions]) -> ApiView: ...
@overload
def toy_view(access: Literal[Access.DENOISER], images: Tensor, **options: Unpack[ViewOptions]) -> DenoiserView: ...
@overload
def toy_view(access: Literal[Access.WEIGHTS], images: Tensor, **options: Unpack[ViewOptions]) -> WeightsView: ...
def toy_view(access: Access, images: Tensor, **options: Unpack[ViewOptions]) -> NoneView:
    """The view of an access level on one batch of images (N, 1, 8, 8): what `score` gets.

    `view.samples` has 8 samples of the release. Each of the auxiliary models has random weights of its own, and every
    other image as a member. See `ViewOptions` for the rest.
    """
    release = options.get("release") or toy_release()
    ids, labels = torch.arange(len(images)), options.get("labels")
    condition = "label" if release.conditions else "none"

    def cache(attacked: Release, noises: AnswerCache | None = None) -> AnswerCache:
        source = QueriedRelease(attacked, partial(attacked.sample, 8))
        return AnswerCache(source, toy_rng(), images, ids, labels, noises=noises)

    ours, others = cache(release), {}
    for model in options.get("auxiliary_models", ()):
        other = toy_release(release.batch, condition, model.name)
        others[model.name] = cache(other, ours), ids % 2 == model.draw % 2
    return VIEWS[access](ours, options.get("raw", False), others)

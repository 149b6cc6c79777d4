"""Private evolution: a public generator's samples, bred towards the private images by noisy votes. Nothing is trained.

Lin et al. 2023 (2305.15560, Alg. 1 and 2). S_0 are samples of the base. For i = 1 .. T: every private image votes for
the one of S_(i-1) nearest to it in features that are public; the votes are released as a histogram,

    h = votes + N(0, sigma^2);   h <- max(h - H, 0);   parents <- |S| draws from h, with replacement
    S_i = variations of the parents by the base, of strength s_i

and S_T is handed out: images, and nothing else.

The claim. One image moves one vote: leaving it out changes the histogram by 1 in the 2-norm, and replacing it by
another by sqrt(2). T histograms with Gaussian noise on all images, without sampling, are accounted for exactly
(`_histogram`). Everything after a histogram is post-processing, and so are more samples than |S|: sample number j
varies parent j mod |S| by fresh noise. The base has to be public, or to state a guarantee of its own, which is then
composed.

Choices of ours. (1) Of a conditional generator each label evolves by itself, by the votes of its own images (as
published), with equally many samples of each, so that no label counts are asked. (2) Strengths fall evenly from
`first_strength` to `last_strength`; strength is the share of the noise schedule that a variation goes back. Published
runs go from 1 to 0.6 on CIFAR-10 and from 1 to 0.4 on cats. (3) A label whose histogram is cut to nothing keeps all its
samples alike. (4) Features are pixels by default; published are Inception's, which small images have no use for.
(5) `threshold` H counts in sigmas, so that a sweep of epsilon needs no other H; published is H = 1.4 sigma on CIFAR-10
and 1 sigma on cats. (6) A candidate stands where its own features are; the published code can look ahead to the mean of
its variations. (7) delta is n^-1.1 unless given. (8) The noise follows from the suite's seed, as in `dp_sgd`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from leakbench.api import (
    Access,
    Artefacts,
    Cost,
    Defense,
    Guarantee,
    Release,
    Task,
    fit_param,
)
from leakbench.metrics.features import Features, resolve_features
from leakbench.models.diffusion import nearest_timestep
from leakbench.models.samples_only import SamplesOnly
from leakbench.models.schedule import Schedule
from leakbench.runtime.device import autocast, in_batches
from leakbench.runtime.errors import UsageError

from ._budget import Budget, PrivateBudget
from ._groups import largest_group
from ._histogram import count_votes, histogram_guarantee, noise_of_counts


@dataclass(frozen=True)
class EvolvedRelease(SamplesOnly):
    """Variations of the last parents (L, P, C, H, W), P for each of L labels."""

    parents: Tensor | None = None
    strength: float = 0.0

    def generate(self, ids: Tensor, label: Tensor | None = None, draw: int = 0) -> Tensor:
        """One variation of each sample number's parent."""
        assert self.base is not None and self.parents is not None
        parent = self.parents[0 if label is None else label, ids % self.parents.shape[1]]
        noise = self.streams.of("variations", PrivateEvolution.name).normal(ids, self.base.shape, draw)
        return self.base.vary(parent, self.strength, noise, label)


class PrivateEvolution(PrivateBudget, Defense):
    """Noisy votes of the private images choose among a public generator's samples."""

    name = "private_evolution"
    summary = "breeds samples of a public generator by differentially private votes of the images (private evolution)"
    needs_base = True
    changes = "sampling"
    fit_samples_base = True
    is_iterative = False
    offers = Access.SAMPLES

    iterations: int = fit_param(10, ge=1)
    population: int = fit_param(1_000, ge=1)  # samples, of each label
    first_strength: float = fit_param(1.0, gt=0, le=1)
    last_strength: float = fit_param(0.4, gt=0, le=1)
    threshold: float = fit_param(1.0, ge=0)  # in sigmas
    features: Literal["pixels", "inception", "dinov2"] = fit_param("pixels")
    noise_multiplier: float | None = fit_param(None, gt=0)
    epsilon: Budget = fit_param(10.0)
    delta: float | None = fit_param(None, gt=0, lt=1)  # None: n^-1.1

    def strengths(self) -> list[float]:
        """The strength of each iteration's variations."""
        last = max(1, self.iterations - 1)
        step = (self.last_strength - self.first_strength) / last
        return [self.first_strength + number * step for number in range(self.iterations)]

    def cost(self) -> Cost:
        """Cost of all walks of an unconditional generator, of 50 steps each."""
        return Cost(50 * self.population * (1 + self.iterations), budget_params=("population",))

    def fit(self, task: Task) -> Artefacts:
        """Evolve the parents of the last samples."""
        assert task.base is not None
        began, images = time.perf_counter(), len(task.images)
        delta = self.delta_of(images)
        sigma = noise_of_counts(self.epsilon, self.noise_multiplier, self.iterations, delta)
        evolution = _Evolution(self, task, task.base, sigma)
        parents = evolution.run()
        guarantee = histogram_guarantee(self.name, task.base, sigma, self.iterations, delta, largest_group(task))
        info = {
            "train_seconds": time.perf_counter() - began,
            "network_evaluations": round(evolution.asked * task.base.network_calls),
            "guarantee": guarantee.to_json(),
            "flags": [f"weak-delta={delta:g}"] if guarantee.epsilon is not None and delta >= 1 / images else [],
            "noise_multiplier": sigma,
        }
        return Artefacts(tensors={"parents": parents.cpu()}, info=info)

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Hand out variations of the last parents."""
        assert task.base is not None
        parents = artefacts.tensors["parents"].to(task.device)
        return EvolvedRelease.wrap(
            task.base,
            guarantee=Guarantee.from_json(artefacts.info["guarantee"]),
            flags=tuple(artefacts.info["flags"]),
            info={"noise_multiplier": artefacts.info["noise_multiplier"]},
            shape=tuple(parents.shape[2:]),
            codec=None,
            parents=parents,
            strength=self.last_strength,
        )


class _Evolution:
    """One evolution on a task: L labels with P candidates each, side by side in tables of L * P rows."""

    def __init__(self, settings: PrivateEvolution, task: Task, base: Release, sigma: float) -> None:
        self.settings, self.task, self.base, self.sigma = settings, task, base, sigma
        self.labels, self.size = max(1, base.conditions), settings.population
        self.numbers = torch.arange(self.labels * self.size, device=task.device)
        self.asked = 0  # answers of the base

    def run(self) -> Tensor:
        """The last iteration's parents (L, P, C, H, W)."""
        label = self._label()
        images = self.base.sample(len(self.numbers), label).to(self.task.device)
        self._count(self.base.schedule, None)
        embed = _features(self.settings.features, self.task)
        theirs = [self._embedded(embed, view) for view in self._private()]
        strengths = self.settings.strengths()
        for number, strength in enumerate(strengths):
            tables = zip(theirs, embed(images).split(self.size), strict=True)
            votes = torch.cat([count_votes(private, candidates) for private, candidates in tables])
            images = images[self._chosen(votes, number)]
            if number + 1 < len(strengths):
                noise = self._stream("offspring", number).normal(self.numbers, self.base.shape)
                images = self._vary(images, strength, noise)
            if self.task.progress:
                self.task.progress((number + 1) / len(strengths))
        return images.unflatten(0, (self.labels, self.size))

    def _label(self) -> Tensor | None:
        """The label of each candidate (L * P,), or None."""
        return self.numbers // self.size if self.base.conditions else None

    def _private(self) -> Iterator[Any]:
        """The private images of each label."""
        if not self.base.conditions:
            return iter([self.task.images.to(self.task.device)])
        told = self.task.conditions
        if told is None:
            raise UsageError(
                "private_evolution: its base is told labels, and the training images have none: use a base that is not"
            )
        return (self.task.subset(told == one).images.to(self.task.device) for one in range(self.labels))

    def _embedded(self, embed: Features, private: Any) -> Tensor:
        """Features (n, D) of private images as the generator would show them: decoded, where it works on latents."""
        if not len(private):
            return torch.empty(0, 0)
        return in_batches(lambda x0: embed(self.base.decode(x0)), private, size=self.base.batch)

    def _vary(self, images: Tensor, strength: float, noise: Tensor) -> Tensor:
        """Variations of candidates by the base."""
        label = self._label()

        def batch(images: Tensor, noise: Tensor, label: Tensor | None = None) -> Tensor:
            return self.base.vary(images, strength, noise, label).float()

        self._count(self.base.schedule, nearest_timestep(self.base.schedule, strength))
        rows = [images, noise] if label is None else [images, noise, label]
        with torch.no_grad(), autocast(self.task.device):
            return in_batches(batch, *rows, size=self.base.batch)

    def _chosen(self, votes: Tensor, number: int) -> Tensor:
        """The numbers of the parents (L * P,), drawn from the noisy histogram of each label."""
        noise = self._stream("histogram", number, self.settings.model_dump_json()).normal(self.numbers)
        noisy = votes.double() + self.sigma * (noise.double() - self.settings.threshold)
        counts = noisy.clamp(min=0).view(self.labels, self.size)
        counts[counts.sum(dim=1) == 0] = 1.0
        u = self._stream("parents", number).uniform(self.numbers).view(self.labels, self.size)
        shares = counts.cumsum(dim=1) / counts.sum(dim=1, keepdim=True)
        chosen = torch.searchsorted(shares, u).clamp(max=self.size - 1)
        return (chosen + self.size * torch.arange(self.labels, device=chosen.device)[:, None]).flatten()

    def _stream(self, purpose: str, *names: object) -> Any:
        return self.task.streams.of(purpose, PrivateEvolution.name, *names)

    def _count(self, schedule: Schedule, start: int | None) -> None:
        """Count the answers of a walk of all candidates."""
        self.asked += len(self.numbers) * sum(start is None or t <= start for t in schedule.timesteps())


def _features(name: str, task: Task) -> Features:
    def none(name: str) -> Features:
        raise AssertionError(name)  # no such name is among the parameter's

    try:
        return resolve_features(name, False, none, task.device)
    except ValueError as error:
        raise UsageError(f"private_evolution: {error}") from None

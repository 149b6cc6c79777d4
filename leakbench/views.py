"""Views: what an adversary of an access level can touch, and nothing more.

A view serves one compute batch of attacked images. All views of a batch share one memory of the release's answers, so
attacks share network calls without knowing of each other: an answer is remembered by (x, t, label), where x is the very
tensor that was asked about, and noised(t, draw) hands out one tensor for each (image, t, draw). Each view counts what
its own attack asked for, as if it ran alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from leakbench import diffusion
from leakbench.api import Access, Release
from leakbench.device import Stream, Streams
from leakbench.diffusion import Eps, Schedule


@dataclass
class BatchMemory:
    """What one batch of attacked images has already cost. `ids` (N,): their numbers in the data set."""

    release: Release
    streams: Streams
    images: Tensor
    ids: Tensor
    labels: Tensor | None
    answers: dict[tuple[Any, ...], Tensor] = field(default_factory=dict)
    made: dict[tuple[Any, ...], Tensor] = field(default_factory=dict)
    asked_about: list[Tensor] = field(default_factory=list)  # kept alive, so that id() stays unique
    drawn: dict[tuple[Any, ...], Tensor] = field(default_factory=dict)  # further samples, shared by all batches
    handed_out: list[tuple[Tensor, int]] = field(default_factory=list)  # with the version that each had

    def __post_init__(self) -> None:
        self._share(self.images)

    def _share(self, tensor: Tensor) -> Tensor:
        self.handed_out.append((tensor, tensor._version))
        return tensor

    @property
    def untouched(self) -> bool:
        """Whether nobody has written to a tensor that others see as well."""
        return all(tensor._version == version for tensor, version in self.handed_out)

    def noise(self, purpose: str, draw: int) -> Tensor:
        """Standard normal (N, C, H, W): the same for every attack, defense and access level."""
        key = ("noise", purpose, draw)
        if key not in self.made:
            shape = tuple(self.images.shape[1:])
            self.made[key] = self._share(self.streams.of("attacking", purpose).normal(self.ids, shape, draw))
        return self.made[key]

    def noised(self, t: int, draw: int) -> Tensor:
        """x_t of the batch."""
        key = ("noised", t, draw)
        if key not in self.made:
            at = diffusion.at(t, self.images)
            schedule = self.release.schedule
            noise = self.noise("forward", draw)
            self.made[key] = self._share(diffusion.forward_noise(schedule, self.images, at, noise))
        return self.made[key]

    def eps(self, raw: bool, x: Tensor, t: int, label: Tensor | None) -> Tensor:
        """The release's answer, remembered. Where it answers with the raw network, both kinds are one."""
        raw = raw or self.release.answers_raw
        key = (raw, id(x), x._version, t, None if label is None else id(label))
        if key not in self.answers:
            self.asked_about += [x] if label is None else [x, label]
            ask = self.release.raw_eps if raw else self.release.eps
            self.answers[key] = self._share(ask(x, diffusion.at(t, x), label))
        return self.answers[key]


class NoneView:
    """NONE: nothing but the images that `score` is given."""

    def __init__(
        self, memory: BatchMemory, samples: Tensor, raw: bool = False, others: Mapping[str, Any] | None = None
    ):
        self._memory, self._samples, self._raw = memory, samples, raw
        self._others: Mapping[str, Any] = others or {}
        self.queries = 0.0  # calls of the service's eps, an attacked image

    def stream(self, *purpose: object) -> Stream:
        """Random numbers of the attack's own, by image number or any other: stream("crops").uniform(view.ids)."""
        return self._memory.streams.of("attacking", "own", *purpose)

    @property
    def ids(self) -> Tensor:
        """Numbers (N,) of the batch's images in the data set."""
        return self._memory.ids


class SamplesView(NoneView):
    """SAMPLES: the images that the release generated."""

    @property
    def samples(self) -> Tensor:
        """Generated images (M, C, H, W), the same for every attack."""
        return self._samples


class ApiView(SamplesView):
    """API: a hosted model that samples and varies images. Asked raw, it is the raw network behind the plain sampler."""

    @property
    def _release(self) -> Release:
        return self._memory.release.unprotected() if self._raw else self._memory.release

    def sample(self, n: int) -> Tensor:
        """n images (n, C, H, W) beyond those in `samples`, the same at every call."""
        release, key = self._release, (self._raw, n)
        self.queries += n * len(release.schedule.walk()) / len(self._memory.ids)
        if key not in self._memory.drawn:
            self._memory.drawn[key] = release.sample(n, first=len(self._samples))
        return self._memory.drawn[key]

    def vary(self, images: Tensor, strength: float, draw: int = 0) -> Tensor:
        """Noise to strength * T (0 to 1) and back, as the service does it."""
        release = self._release
        start = diffusion.entry(release.schedule, strength)
        self.queries += sum(t <= start for t in release.schedule.walk())
        return release.vary(images, strength, self._memory.noise("vary", draw), self._memory.labels)


class DenoiserView(ApiView):
    """DENOISER: the noise prediction as the defended service answers it, and the schedule."""

    @property
    def schedule(self) -> Schedule:
        """The noise schedule."""
        return self._memory.release.schedule

    @property
    def others(self) -> Mapping[str, tuple[Eps, Tensor]]:
        """Releases asked for by needs(), by name: (eps, mask (N,) of this batch's images that it was trained on)."""
        return self._others

    def eps(self, x: Tensor, t: int, label: Tensor | None = None) -> Tensor:
        """Noise prediction (N, C, H, W) for x at timestep t; one query an image. Treat the answer as read-only."""
        self.queries += 1.0
        return self._memory.eps(self._raw, x, t, self._memory.labels if label is None else label)

    def noise(self, draw: int = 0) -> Tensor:
        """The forward noise of draw number `draw`, (N, C, H, W)."""
        return self._memory.noise("forward", draw)

    def noised(self, t: int, draw: int = 0) -> Tensor:
        """x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise(draw), (N, C, H, W)."""
        return self._memory.noised(t, draw)

    def ddim(self, x: Tensor, s: int, u: int) -> Tensor:
        """One deterministic DDIM step from timestep s to u (u > s inverts); one query an image."""
        return diffusion.ddim_move(self.schedule, x, s, u, self.eps(x, s))


class WeightsView(DenoiserView):
    """WEIGHTS: the raw network, its gradients, and all that ships with it."""

    @property
    def network(self) -> torch.nn.Module:
        """The raw network."""
        return self._memory.release.network

    @property
    def parts(self) -> dict[str, Any]:
        """What ships beside the network: CPSample's classifier, for one."""
        return self._memory.release.parts

    @property
    def release(self) -> Release:
        """The whole release."""
        return self._memory.release


VIEWS: dict[Access, type[NoneView]] = {
    Access.NONE: NoneView,
    Access.SAMPLES: SamplesView,
    Access.API: ApiView,
    Access.DENOISER: DenoiserView,
    Access.WEIGHTS: WeightsView,
}

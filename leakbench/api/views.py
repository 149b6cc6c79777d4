"""Views: what an adversary of an access level can touch, and nothing more.

A view serves one compute batch of attacked images. All views of a batch share one memory of the release's answers
(leakbench.api.answer_cache), so attacks share network calls without knowing of each other. Each view counts what its
own attack asked for, as if it ran alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from leakbench.api import Access, Release
from leakbench.api.answer_cache import AnswerCache
from leakbench.models import diffusion
from leakbench.models.diffusion import Schedule
from leakbench.runtime.device import RngStream


@dataclass
class QueryCount:
    """Calls of the service's eps by one attack, as if it ran alone.

    batch: calls an image of the batch that is asked about. total: of all images of the batches before. once: calls for
    samples, which are drawn once for all images.
    """

    batch: float = 0.0
    total: float = 0.0
    once: float = 0.0
    _drawn: set[Hashable] = field(default_factory=set)

    def draw(self, samples: Hashable, calls: float) -> None:
        """Count the calls for samples of this name the first time that they are asked for."""
        if samples not in self._drawn:
            self._drawn.add(samples)
            self.once += calls

    def finish(self, images: int) -> None:
        """Add the calls of a finished batch of so many images to the total."""
        self.total, self.batch = self.total + self.batch * images, 0.0


@dataclass(frozen=True)
class AuxiliaryView:
    """A release that needs() asked for: a view of it, at the attack's own access level, of the same images with the
    same noise; and the mask `is_member` (N,) of those that it was trained on."""

    view: Any
    is_member: Tensor


class AuxiliaryViews(Mapping[str, AuxiliaryView]):
    """The needed releases by name; a view of one is made when it is asked for."""

    def __init__(
        self, memories: Mapping[str, tuple[AnswerCache, Tensor]], kind: type[NoneView], raw: bool, owner: str
    ) -> None:
        self._memories, self._kind, self._raw, self._owner = memories, kind, raw, owner

    def __getitem__(self, name: str) -> AuxiliaryView:
        memory, inside = self._memories[name]
        return AuxiliaryView(self._kind(memory, self._raw, owner=self._owner), inside)

    def __iter__(self) -> Iterator[str]:
        return iter(self._memories)

    def __len__(self) -> int:
        return len(self._memories)


class NoneView:
    """NONE: nothing but the images that `score` is given."""

    def __init__(
        self,
        memory: AnswerCache,
        raw: bool = False,
        others: Mapping[str, tuple[AnswerCache, Tensor]] | None = None,
        shares: bool = True,
        owner: str = "",
        count: QueryCount | None = None,
    ) -> None:
        self._memory, self._raw, self._shares, self._owner = memory, raw, shares, owner
        self._others = AuxiliaryViews(others or {}, type(self), raw, owner)
        self._count = count or QueryCount()

    @property
    def queries(self) -> float:
        """Calls of the service's eps an image of this batch, samples included."""
        return self._count.batch + self._count.once / len(self._memory.ids)

    def stream(self, *purpose: object) -> RngStream:
        """Random numbers of the attack's own, by image number or any other: stream("crops").uniform(view.ids)."""
        return self._memory.streams.of("attacking", "own", *purpose)

    @property
    def ids(self) -> Tensor:
        """Numbers (N,) of the batch's images in the data set."""
        return self._memory.ids


class SamplesView(NoneView):
    """SAMPLES: the images that the release generated."""

    @property
    def others(self) -> Mapping[str, AuxiliaryView]:
        """Releases asked for by needs(), by name."""
        return self._others

    @property
    def samples(self) -> Tensor:
        """Generated images (M, C, H, W), the same for every attack, on the images' device."""
        self._memory.source.samples_read = True
        return self._memory.source.samples


class ApiView(SamplesView):
    """API: a hosted model that samples, varies and completes images. Asked raw, it is the raw network behind the plain
    sampler."""

    @property
    def _release(self) -> Release:
        return self._memory.release.undefended() if self._raw else self._memory.release

    @property
    def conditions(self) -> int:
        """How many labels the model is conditioned on; 0: unconditional."""
        return self._memory.release.conditions

    def sample(self, n: int, label: int | None = None, first: int = 0) -> Tensor:
        """n images (n, C, H, W) beyond those in `samples`, the same at every call, on the CPU.

        `label`: what all of them are conditioned on; by default uniform labels. `first` numbers them: equal numbers
        start from equal noise, whatever the label.
        """
        release = self._release
        self._memory.source.samples_read = True  # they are numbered from the last of `samples` on
        name = (self._raw, n, label, first)
        self._count.draw(name, n * len(release.schedule.timesteps()))

        def make() -> Tensor:
            asked = None if label is None else torch.full((n,), label)
            return release.sample(n, asked, first=len(self.samples) + first)

        return self._memory.source.cached_samples(name, make)

    def vary(self, images: Tensor, strength: float, draw: int = 0) -> Tensor:
        """Noise to strength * T (0 to 1) and back, as the service does it."""
        release = self._release
        start = diffusion.nearest_timestep(release.schedule, strength)
        self._count.batch += sum(t <= start for t in release.schedule.timesteps())

        def make() -> Tensor:
            return release.vary(images, strength, self._memory.noise("vary", draw), self._memory.labels)

        return self._memory.cached(("vary", self._raw, strength, draw), images, make)

    def inpaint(self, images: Tensor, mask: Tensor, draw: int = 0) -> Tensor:
        """Complete images (N, C, H, W) where `mask` (H, W), bool, is true, as the service does it; elsewhere they stay
        as they are."""
        release = self._release
        self._count.batch += len(release.schedule.timesteps())

        def make() -> Tensor:
            start, known = self._memory.noise("inpaint start", draw), self._memory.noise("inpaint known", draw)
            return release.inpaint(images, mask, start, known, self._memory.labels)

        return self._memory.cached(("inpaint", self._raw, mask.cpu().numpy().tobytes(), draw), images, make)


class DenoiserView(ApiView):
    """DENOISER: the noise prediction as the defended service answers it, and the schedule."""

    @property
    def schedule(self) -> Schedule:
        """The noise schedule."""
        return self._memory.release.schedule

    @property
    def labels(self) -> Tensor | None:
        """What the batch's images are conditioned on unless asked otherwise."""
        return self._memory.labels

    def eps(self, x: Tensor, t: int, label: Tensor | None = None, repeat: int = 0) -> Tensor:
        """Noise prediction (N, C, H, W) for x at timestep t; one query an image. Treat the answer as read-only.

        The same question gets the remembered answer; another `repeat` asks anew, for a service whose answers are random
        (see Release.answer_noise).
        """
        self._count.batch += 1.0
        label = self._memory.labels if label is None else label
        return self._memory.eps(self._raw, x, t, label, repeat, counted=self._shares)

    def noise(self, draw: int = 0) -> Tensor:
        """The forward noise of draw number `draw`, (N, C, H, W)."""
        return self._memory.noise("forward", draw)

    def noised(self, t: int, draw: int = 0) -> Tensor:
        """x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise(draw), (N, C, H, W)."""
        return self._memory.noised(t, draw)

    def noise_to(self, t: int, noise: Tensor) -> Tensor:
        """The same with noise (N, C, H, W) of the attack's own: one tensor for all that bring the same noise."""
        x0 = self._memory.x0
        return self._memory.cached(
            ("noised with", t),
            noise,
            lambda: diffusion.add_noise(self.schedule, x0, diffusion.full_timesteps(t, x0), noise),
        )

    def memoize(self, name: Hashable, x: Tensor, make: Callable[[], Tensor]) -> Tensor:
        """What attacks make of x, a tensor that the view handed out, under a name of their own: made for the first that
        asks, and the very same tensor for all others, so that the network is asked about it once."""
        return self._memory.cached(("memoize", self._owner, name), x, make)

    def ddim(self, x: Tensor, s: int, u: int) -> Tensor:
        """One deterministic DDIM step from timestep s to u (u > s inverts); one query an image."""
        eps = self.eps(x, s)
        return self._memory.cached(
            ("ddim", self._raw, s, u), x, lambda: diffusion.ddim_step(self.schedule, x, s, u, eps)
        )


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

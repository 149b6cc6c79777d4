"""Views of a release: the access of an adversary, one class a level.

A view serves one compute batch of attacked images. All views of a batch share one memory of the release's answers
(leakbench.api.answer_cache), so attacks share network calls without knowing of each other. Each view counts what its
own attack asked for, as if it ran alone.
"""

from __future__ import annotations

import sys
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

_EACH, _EACH_BITS = 2**31, 24  # the first number of samples for single images, and bits of an image's number


@dataclass
class QueryCount:
    """Calls of one release's eps by one attack, as if it ran alone.

    batch: calls an image of the batch that is asked about. total: of all images of the batches before, and images:
    their number.
    """

    batch: float = 0.0
    total: float = 0.0
    images: int = 0
    _drawn: dict[Hashable, float] = field(default_factory=dict)

    @property
    def once(self) -> float:
        """Calls for samples, which are drawn once for all images."""
        return sum(self._drawn.values())

    @property
    def mean(self) -> float:
        """Calls an image, those for samples included; 0 before the first batch is finished."""
        return (self.total + self.once) / self.images if self.images else 0.0

    def draw(self, samples: Hashable, calls: float) -> None:
        """Count the calls for samples of this name the first time that they are asked for."""
        self._drawn.setdefault(samples, calls)

    def finish(self, images: int) -> None:
        """Add the calls of a finished batch of so many images to the total."""
        self.total, self.batch = self.total + self.batch * images, 0.0
        self.images += images

    def extrapolate(self, images: int) -> None:
        """Make a count of all images of one of some of them: the rest are asked about as much on average."""
        self.total, self.images = self.total / self.images * images, images

    def add(self, other: QueryCount) -> None:
        """Add the finished batches of another count. Samples that both asked for count once."""
        self.total, self.images = self.total + other.total, self.images + other.images
        for samples, calls in other._drawn.items():
            self.draw(samples, calls)


@dataclass(frozen=True)
class AuxiliaryView:
    """A release that `auxiliary_models()` asked for.

    view: of the same images with the same noise, at the attack's own access level. is_member: mask (N,) of the images
    that it was trained on; all false for a retrained or canary model.
    """

    view: Any
    is_member: Tensor


class AuxiliaryViews(Mapping[str, AuxiliaryView]):
    """Views of the auxiliary releases by name, each made when it is asked for."""

    def __init__(self, memories: Mapping[str, tuple[AnswerCache, Tensor]], kind: type[NoneView], raw: bool) -> None:
        self._memories, self._kind, self._raw = memories, kind, raw

    def __getitem__(self, name: str) -> AuxiliaryView:
        memory, inside = self._memories[name]
        return AuxiliaryView(self._kind(memory, self._raw), inside)

    def __iter__(self) -> Iterator[str]:
        return iter(self._memories)

    def __len__(self) -> int:
        return len(self._memories)


class NoneView:
    """View at NONE: the images that `score` is given, and nothing of the model."""

    def __init__(
        self,
        memory: AnswerCache,
        raw: bool = False,
        others: Mapping[str, tuple[AnswerCache, Tensor]] | None = None,
        shares: bool = True,
        count: QueryCount | None = None,
    ) -> None:
        self._memory, self._raw, self._shares = memory, raw, shares
        self._others = AuxiliaryViews(others or {}, type(self), raw)
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

    @property
    def captions(self) -> tuple[str, ...] | None:
        """Captions of the batch's images, which belong to the images; None where the model is told none.

        Of a model of classes they are the classes' numbers in words: "0", "1".
        """
        labels, texts = self._memory.labels, self._memory.release.captions
        if labels is None:
            return None
        return tuple(texts[label] if texts else str(label) for label in labels.tolist())


class SamplesView(NoneView):
    """View at SAMPLES: the images that the release generated."""

    @property
    def others(self) -> Mapping[str, AuxiliaryView]:
        """Views of the releases that `auxiliary_models()` asked for, by name."""
        return self._others

    @property
    def samples(self) -> Tensor:
        """Generated images (M, C, H, W), the same for every attack, on the images' device."""
        self._memory.source.samples_read = True
        return self._memory.source.samples


class ApiView(SamplesView):
    """View at API: a hosted model that samples, varies and completes images.

    Asked raw, it is the raw network behind the plain sampler.
    """

    @property
    def _release(self) -> Release:
        return self._memory.release.undefended() if self._raw else self._memory.release

    @property
    def conditions(self) -> int:
        """Number of labels that the model is conditioned on; 0: unconditional."""
        return self._memory.release.conditions

    def sample(self, n: int, label: int | None = None, first: int = 0) -> Tensor:
        """Draw n images (n, C, H, W) beyond those in `samples`, the same at every call, on the CPU.

        `label`: what all of them are conditioned on; by default uniform labels. `first` numbers them: equal numbers
        start from equal noise, whatever the label. Costs n walks of the sampler, once for all attacked images.
        """
        release = self._release
        self._memory.source.samples_read = True  # they are numbered from the last of `samples` on
        name = (self._raw, n, label, first)
        self._count.draw(name, n * len(release.schedule.timesteps()))

        def make() -> Tensor:
            asked = None if label is None else torch.full((n,), label)
            return release.sample(n, asked, first=len(self.samples) + first)

        return self._memory.source.cached_samples(name, make)

    def sample_each(self, draw: int = 0) -> Tensor:
        """Draw one image for each image of the batch, under its own label or caption: (N, C, H, W).

        Another `draw` (0 to 127) starts from other noise. None of them is among `samples`. Costs a walk an image.
        """
        release = self._release
        self._count.batch += len(release.schedule.timesteps())

        def make() -> Tensor:
            numbers = _EACH + (draw << _EACH_BITS) + self._memory.ids
            return release.decode(release.generate(numbers, self._memory.labels)).float()

        return self._memory.cached(("sample each", self._raw, draw), self._memory.images, make)

    def vary(self, images: Tensor, strength: float, draw: int = 0) -> Tensor:
        """Noise images (N, C, H, W) to strength * T (0 to 1) and denoise them as the service does: (N, C, H, W)."""
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
    """View at DENOISER: the noise prediction as the defended service answers it, and the schedule.

    `images` of `score` are x_0, what the network denoises: latents where the release has a codec, else the images.
    """

    @property
    def schedule(self) -> Schedule:
        """Noise schedule (leakbench.models.diffusion.Schedule).

        `T`: number of timesteps, t = 0 .. T - 1. `alpha_bar`: float64 numpy array (T,), falling in t. `timesteps()`:
        list of the timesteps of the sampler's walk, highest first. `steps`: its length.
        """
        return self._memory.release.schedule

    @property
    def pixels(self) -> Tensor:
        """The attacked images themselves (N, C, H, W): what `vary` and `inpaint` take. Without a codec they are x_0."""
        return self._memory.images

    def encode(self, images: Tensor) -> Tensor:
        """Encode images (N, C, H, W) as x_0, what the network denoises; images themselves without a codec."""
        return self._memory.release.encode(images)

    @property
    def labels(self) -> Tensor | None:
        """Labels int64 (N,) that the batch's images are conditioned on unless asked otherwise; None: unconditional."""
        return self._memory.labels

    @property
    def no_labels(self) -> Tensor | None:
        """Labels (N,) of -1, which stand for no condition; None where the model has no answer without one."""
        labels = self._memory.labels
        if labels is None or not self._memory.release.knows_none:
            return None
        return self._memory.cached(("no labels",), labels, lambda: torch.full_like(labels, -1))

    def other_labels(self, draw: int = 0) -> Tensor | None:
        """Labels (N,) of other captions or classes than the images' own, drawn at random by image number.

        Another `draw` gives others, up to one less than there are. None where there is but one, or no condition.
        """
        own, release = self._memory.labels, self._memory.release
        if own is None or release.conditions < 2:
            return None
        names = {text: label for label, text in reversed(list(enumerate(release.captions)))}
        labels = sorted(names.values()) or list(range(release.conditions))
        if len(labels) < 2:
            return None
        place = {label: number for number, label in enumerate(labels)}
        first = own.tolist() if not names else [names[release.captions[label]] for label in own.tolist()]
        steps = self._memory.streams.of("attacking", "other labels").integers(self.ids, len(labels) - 1).tolist()
        chosen = [
            labels[(place[label] + 1 + (step + draw) % (len(labels) - 1)) % len(labels)]
            for label, step in zip(first, steps, strict=True)
        ]
        return self._memory.cached(("other labels", draw), own, lambda: torch.tensor(chosen).to(own))

    def edited_labels(self, edit: Callable[[str], str], name: Hashable, labels: Tensor | None = None) -> Tensor:
        """Labels (N,) by which to ask about what `edit` makes of the captions of `labels` (N,), by default the images'.

        `name` says what that is: equal names share their answers. Raises ValueError where the model is told none.
        """
        network = self._memory.release.network
        labels = self._memory.labels if labels is None else labels
        if labels is None or not self.tells_captions:
            raise ValueError("the model is told no captions that could be edited: ask tells_captions first")
        numbers = network.label_edited(labels.tolist(), edit)  # type: ignore[operator]
        return self._memory.cached(("edited labels", name), labels, lambda: torch.tensor(numbers).to(labels))

    @property
    def tells_captions(self) -> bool:
        """Tell whether labels stand for captions."""
        return bool(self._memory.release.captions)

    def eps(self, x: Tensor, t: int, label: Tensor | None = None, repeat: int = 0) -> Tensor:
        """Predict the noise (N, C, H, W) in x at timestep t, 0 .. T - 1; one query an image. The answer is read-only.

        The same question gets the remembered answer; another `repeat` asks anew, for a service whose answers are random
        (see Release.answer_noise).
        """
        self._count.batch += 1.0
        label = self._memory.labels if label is None else label
        return self._memory.eps(self._raw, x, t, label, repeat, counted=self._shares)

    def noise(self, draw: int = 0) -> Tensor:
        """Forward noise of draw number `draw`, standard normal (N, C, H, W), the same for every attack."""
        return self._memory.noise("forward", draw)

    def noised(self, t: int, draw: int = 0) -> Tensor:
        """x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise(draw), (N, C, H, W)."""
        return self._memory.noised(t, draw)

    def noise_to(self, t: int, noise: Tensor) -> Tensor:
        """x_t with noise (N, C, H, W) of the attack's own: one tensor for all that bring the same noise."""
        x0 = self._memory.x0
        return self._memory.cached(
            ("noised with", t),
            noise,
            lambda: diffusion.add_noise(self.schedule, x0, diffusion.full_timesteps(t, x0), noise),
        )

    def memoize(self, name: Hashable, x: Tensor, make: Callable[[], Tensor]) -> Tensor:
        """Remember what `make` makes of x, a tensor of the view, so that the network is asked about it once.

        A name counts within the module that calls this, so that two plugins which chose the same one do not collide. It
        says all on which the tensor depends beside x.
        """
        module = sys._getframe(1).f_globals["__name__"]  # not the attack's: CDI runs PIAN, and shares its tensors
        return self._memory.cached(("memoize", module, name), x, make)

    def ddim(self, x: Tensor, s: int, u: int) -> Tensor:
        """Move x (N, C, H, W) by a deterministic DDIM step from timestep s to u (u > s inverts); one query an image."""
        eps = self.eps(x, s)
        return self._memory.cached(
            ("ddim", self._raw, s, u), x, lambda: diffusion.ddim_step(self.schedule, x, s, u, eps)
        )


class WeightsView(DenoiserView):
    """View at WEIGHTS: the raw network, its gradients, and all that ships with it.

    `eps` asks the raw network, whatever defends the service.
    """

    @property
    def network(self) -> torch.nn.Module:
        """Raw network, called as network(x, t, label) with x (N, C, H, W) and t, label int64 (N,): eps (N, C, H, W)."""
        return self._memory.release.network

    @property
    def parts(self) -> dict[str, Any]:
        """Parts that ship beside the network by name, such as "classifier" (see Defense.ships)."""
        return self._memory.release.parts

    @property
    def release(self) -> Release:
        """The release itself; its calls are not counted."""
        return self._memory.release


VIEWS: dict[Access, type[NoneView]] = {
    Access.NONE: NoneView,
    Access.SAMPLES: SamplesView,
    Access.API: ApiView,
    Access.DENOISER: DenoiserView,
    Access.WEIGHTS: WeightsView,
}

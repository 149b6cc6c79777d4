"""Releases: models as they are handed out."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from leakbench.results.guarantee import Guarantee
from leakbench.runtime.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from leakbench.models.diffusion import Schedule
    from leakbench.models.networks import NetworkSpec
    from leakbench.runtime.device import Rng


class Codec(Protocol):
    """Between images (N, C, H, W) in [-1, 1] and the x0 that a network denoises in another space, such as a VAE's."""

    def encode(self, images: Tensor) -> Tensor:
        """Their x0, (N, *Release.shape): the same at every call."""

    def decode(self, x0: Tensor) -> Tensor:
        """The images of x0, in [-1, 1]."""


@dataclass(frozen=True)
class Release:
    """A model as it is handed out. A sampling-time defense subclasses it and changes what eps or generate answer.

    parts: what ships beside the network (CPSample's classifier). guarantee: what it states of differential privacy, or
    why it states nothing any longer. flags: health flags for every record of this
    release. info: facts for the record. base: the release it builds on. batch: rows of a full compute batch (sizes are
    fixed, so results are equal bit for bit: leakbench.runtime.batch_sizes). network_calls: what one eps() of one image
    costs, in calls of the network. shape: of the x0 that the network denoises; codec: how that comes from an image,
    where it is none itself. repeat: how often the same question was asked before, for answers that are random (see
    `answer_noise`).

    `sample`, `vary` and `inpaint` speak images; `eps`, `start` and `generate` the network's space.
    """

    network: nn.Module
    schedule: Schedule
    streams: Rng
    shape: tuple[int, int, int]
    device: torch.device
    batch: int = 256
    parts: dict[str, Any] = field(default_factory=dict)
    guarantee: Guarantee = field(default_factory=Guarantee)
    info: dict[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    network_calls: float = 1.0
    base: Release | None = None
    codec: Codec | None = None
    repeat: int = 0

    is_iterative: ClassVar[bool] = True  # eps() steers the walk that samples come from; False: finished ones are chosen
    answers_eps: ClassVar[bool] = True  # False: it hands out images alone

    @classmethod
    def wrap(cls, base: Release, **more: Any) -> Release:
        """A release on top of another: its fields, with some changed or added. Parts and facts are merged.

        The base's guarantee does not carry over by itself: pass `guarantee=base.guarantee` where it survives, because
        the added step never reads members, and `guarantee=void_guarantee(base, "why")` where it does not.
        Raises ValueError for another network: its eps would still be the base's. A defense that changes weights hands
        out task.release(network). Raises UsageError where this release steers the sampling walk and the base has none.
        """
        if cls.is_iterative and not base.is_iterative:
            raise UsageError(
                f"{cls.__name__} steers a sampling walk, and its base chooses among finished samples: build that base "
                "on it instead"
            )
        if more.get("network", base.network) is not base.network:
            raise ValueError("a release over a base keeps the base's network; use task.release(network)")
        kept = {f.name: getattr(base, f.name) for f in fields(Release) if f.name not in ("guarantee", "flags", "base")}
        inherit(more, base)
        for key in ("parts", "info"):
            more[key] = kept[key] | more.get(key, {})
        return cls(**(kept | {"base": base} | more))

    @staticmethod
    def with_batch(release: Release, batch: int) -> Release:
        """The release with another compute batch, all the way down."""
        base = release.base and Release.with_batch(release.base, batch)
        return replace(release, batch=batch, base=base)

    @staticmethod
    def with_repeat(release: Release, repeat: int) -> Release:
        """The release when it is asked the same for the `repeat`-th time again, all the way down: `answer_noise` is
        drawn anew. 0 is the first time."""
        base = release.base and Release.with_repeat(release.base, repeat)
        return replace(release, repeat=repeat, base=base)

    def answer_noise(self, x: Tensor, t: Tensor, label: Tensor | None = None, *purpose: object) -> Tensor:
        """Standard normal noise (N, C, H, W), float32, for a service whose answers are random: call it in `eps`.

        The numbers of a row follow from that row of the question (the bits of x (N, C, H, W), t and label (N,)), from
        the release's streams, its class and `purpose`, and from `repeat`. They do not depend on the batch, on the order
        or on the device: the same question gets the same noise, one that differs in a single bit gets fresh noise, and
        `view.eps(x, t, repeat=1)` draws anew.

        Implementation choice: two releases of one class on top of each other, of equal purpose, draw different noise.
        """
        from leakbench.runtime.device import row_digest

        twins, below = 0, self.base
        while below is not None:
            twins, below = twins + (type(below) is type(self)), below.base
        stream = self.streams.of("answers", type(self).__name__, twins, self.repeat, *purpose)
        digest = row_digest(stream, x, t, *(() if label is None else (label,)))
        return stream.normal_of(digest, tuple(x.shape[1:]))

    @property
    def eps_is_raw(self) -> bool:
        """Tell whether eps() is the raw network's answer: then DENOISER and WEIGHTS see the same numbers."""
        return type(self).eps is Release.eps and (self.base is None or self.base.eps_is_raw)

    def undefended(self) -> Release:
        """The raw network behind the plain sampler: what whoever holds the weights can run. States nothing."""
        plain = (self.network, self.schedule, self.streams, self.shape, self.device, self.batch)
        return Release(*plain, codec=self.codec)

    def encode(self, images: Tensor) -> Tensor:
        """Encode images (N, C, H, W) in [-1, 1] as the x0 (N, *shape) that the network denoises.

        Latents where the release has a codec, else the images themselves.
        """
        return self.codec.encode(images) if self.codec else images

    def decode(self, x0: Tensor) -> Tensor:
        """Decode x0 (N, *shape) to images (N, C, H, W) in [-1, 1]."""
        return self.codec.decode(x0) if self.codec else x0

    def raw_eps(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The raw network's noise prediction (N, C, H, W)."""
        answer: Tensor = self.network(x, t, label)
        return answer

    def eps(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The noise prediction as the service answers it (N, C, H, W): by default the base's, or the raw one."""
        return self.base.eps(x, t, label) if self.base else self.raw_eps(x, t, label)

    def initial_noise(self, ids: Tensor, draw: int = 0) -> Tensor:
        """Initial noise x_T of the samples with these numbers: the same for every defense (same-seed pairs)."""
        return self.streams.of("sampling").normal(ids, self.shape, draw)

    def generate(self, ids: Tensor, label: Tensor | None = None, draw: int = 0) -> Tensor:
        """x0 (N, *shape) for the sample numbers `ids` (N,): one compute batch. `decode` makes images of them.

        `draw` numbers further candidates for the same sample (0 is the one that all defenses share).
        """
        from leakbench.models.diffusion import denoise

        return denoise(self.schedule, self.eps, self.initial_noise(ids, draw), label)

    def facts(self) -> dict[str, Any]:
        """JSON-able facts that sampling showed, asked once, right after sample(); by default those of the base."""
        return self.base.facts() if self.base else {}

    def spent(self) -> dict[str, float]:
        """What a service that is paid has counted so far, for the record of a run: "service_calls", "service_price"."""
        return self.base.spent() if self.base else {}

    @property
    def conditions(self) -> int:
        """Number of labels that the network is conditioned on; 0: unconditional."""
        spec: NetworkSpec = self.network.spec  # type: ignore[assignment]
        return spec.conditions

    @property
    def captions(self) -> tuple[str, ...]:
        """The caption of each label; () where labels are none of captions."""
        texts: tuple[str, ...] = getattr(self.network, "texts", ())
        return texts

    @property
    def knows_none(self) -> bool:
        """Tell whether the network has an answer without condition, for a label of -1."""
        return bool(self.conditions) and bool(getattr(self.network, "knows_none", False))

    def labels(self, ids: Tensor) -> Tensor | None:
        """Labels (N,) of the samples with these numbers unless asked otherwise, uniform; None: unconditional."""
        return self.streams.of("sampling", "labels").integers(ids, self.conditions) if self.conditions else None

    def sample(self, n: int, label: Tensor | None = None, first: int = 0) -> Tensor:
        """The samples numbered first .. first + n - 1, on the CPU, float32; seeded by the release's streams.

        `label` (n,) for a conditional network; by default uniform labels, the same for every defense.
        """
        import torch

        from leakbench.models.sampling import draw

        ids = torch.arange(first, first + n, device=self.device)
        return draw(self, ids, self.labels(ids) if label is None else label.to(self.device)).cpu()

    def vary(self, images: Tensor, strength: float, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """Image variation: noise (N, *shape) to strength * T (0 to 1), then denoise as the service does."""
        from leakbench.models.diffusion import vary

        return self.decode(vary(self.schedule, self.eps, self.encode(images), strength, noise, label))

    def inpaint(
        self, images: Tensor, mask: Tensor, start: Tensor, noise: Tensor, label: Tensor | None = None
    ) -> Tensor:
        """Completion of images where `mask` (H, W) is true, as the service does it: see
        leakbench.models.diffusion.inpaint.

        In another space than the images', whatever the unknown pixels touch there is unknown (a choice of ours), and
        the known pixels are put back at the end.
        """
        import torch
        from torch.nn.functional import adaptive_max_pool2d

        from leakbench.models.diffusion import inpaint

        there = mask if self.codec is None else adaptive_max_pool2d(mask[None].float(), self.shape[1:])[0] > 0
        found = inpaint(self.schedule, self.eps, self.encode(images), there, start, noise, label)
        return found if self.codec is None else torch.where(mask, self.decode(found), images)


def void_guarantee(base: Release, why: str) -> Guarantee:
    """Guarantee of a step that reads members over a base: void, with the first reason of the chain.

    Where the base states nothing there is nothing to lose, and nothing is stated.
    """
    return Guarantee(void=base.guarantee.void or why) if base.guarantee.is_stated else Guarantee()


def inherit(more: dict[str, Any], base: Release) -> None:
    """Add a base's guarantee and flags to the fields of what stands on it: flags are joined, the guarantee is void
    unless `more` states one."""
    more.setdefault("guarantee", void_guarantee(base, "a step above it does not say that it never reads members"))
    more["flags"] = tuple(dict.fromkeys((*base.flags, *more.get("flags", ()))))

"""The contracts: Access, Defense, Release, Attack, Evidence. The first file a newcomer reads.

A defense trains something (`fit`) and answers for it (`release`). An attack asks a release questions through a view
that holds what its access level permits, and emits raw scores. It never computes an AUC: the harness does, the same way
for all.

Images are float32 (N, C, H, W) in [-1, 1]; a timestep t is an integer 0 .. T - 1; labels are int64 (N,) or None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from leakbench.copying import Matches
    from leakbench.device import Streams
    from leakbench.diffusion import Schedule
    from leakbench.networks import Network, NetworkSpec


class Access(IntEnum):
    """What the adversary may touch. Each level includes those below it."""

    NONE = 0  # nothing: images only
    SAMPLES = 1  # generated images
    API = 2  # sample() and vary(): a hosted model
    DENOISER = 3  # eps(x, t, label) as the defended service answers, the schedule, sampler steps
    WEIGHTS = 4  # the raw network and all that ships with it, gradients


def training(default: Any = ..., **constraints: Any) -> Any:
    """A parameter of the training stage: changing it trains again. Takes pydantic's constraints (ge=0, ...)."""
    return Field(default, json_schema_extra={"stage": "training"}, **constraints)


def sampling(default: Any = ..., **constraints: Any) -> Any:
    """A parameter of the sampling stage: changing it trains nothing."""
    return Field(default, json_schema_extra={"stage": "sampling"}, **constraints)


class Plugin(BaseModel):
    """Frozen, validated parameters. Unknown keys and values out of range are errors that name them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]
    version: ClassVar[str] = (
        "1"  # raise it when the method changes: cached artefacts of the old one are then left alone
    )
    summary: ClassVar[str] = ""

    @classmethod
    def fields_of(cls, stage: str) -> set[str]:
        """Names of the parameters of a stage, "training" or "sampling"."""
        extra = {key: info.json_schema_extra for key, info in cls.model_fields.items()}
        return {key for key, value in extra.items() if isinstance(value, dict) and value.get("stage") == stage}


@dataclass(frozen=True)
class Task:
    """What a defense is given to train on. Nothing here says which images will be reported.

    images: the training images (member and calibration_in together, in the order of the data set).
    labels, attribute: int64 (N,) or None.
    condition: what the network is conditioned on: "none", "label" or "attribute".
    groups: int64 (N,): images that are near-duplicates share a number.
    heldout: real images of the data set's `reference` part, never trained on and never reported.
    base: the release that this defense builds on (`base = "<id>"` in the suite), or None.
    folder: where checkpoints may lie; progress: told the share of training done, 0 to 1.
    """

    images: Tensor
    labels: Tensor | None
    attribute: Tensor | None
    condition: str
    groups: Tensor
    heldout: Tensor
    network: NetworkSpec
    schedule: Schedule
    streams: Streams
    device: torch.device
    base: Release | None = None
    folder: Path | None = None
    progress: Callable[[float], None] | None = None

    @property
    def conditions(self) -> Tensor | None:
        """The labels that the network is conditioned on, or None."""
        return {"none": None, "label": self.labels, "attribute": self.attribute}[self.condition]


@dataclass(frozen=True)
class Artefacts:
    """What training made: networks by name, further tensors by name, and JSON-able facts about the training.

    `info` keys that the harness understands: "train_seconds" (kept apart from a record's identity),
    "network_evaluations" (int); all else is written into the record as it is.
    """

    networks: dict[str, Network] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Release:
    """A model as it is handed out. A sampling-time defense subclasses it and changes what eps or generate answer.

    parts: what ships beside the network (CPSample's classifier). claims: such as {"epsilon": 8.0, ...}; an empty dict
    claims nothing. info: facts for the record. base: the release it builds on. batch: rows of every compute batch
    (fixed: results are then equal bit for bit). network_calls: what one eps() of one image costs, in calls of the
    network.
    """

    network: Network
    schedule: Schedule
    streams: Streams
    shape: tuple[int, int, int]
    device: torch.device
    batch: int = 256
    parts: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    network_calls: float = 1.0
    base: Release | None = None

    @classmethod
    def of(cls, task: Task, network: Network, **more: Any) -> Release:
        """A release of a network with the task's schedule, streams, shape and device."""
        return cls(network, task.schedule, task.streams, task.network.shape, task.device, **more)

    @classmethod
    def over(cls, base: Release, **more: Any) -> Release:
        """A release on top of another: its fields, with some changed or added. Parts and facts are merged.

        The base's claims do not carry over by themselves: pass `claims=base.claims` where they survive, which for
        epsilon means that the added step never reads members. Raises ValueError for another network: its eps would
        still be the base's. A defense that changes weights hands out Release.of(task, network).
        """
        if more.get("network", base.network) is not base.network:
            raise ValueError("a release over a base keeps the base's network; use Release.of(task, network)")
        kept = {f.name: getattr(base, f.name) for f in fields(Release) if f.name not in ("claims", "base")}
        for key in ("parts", "info"):
            more[key] = kept[key] | more.get(key, {})
        return cls(**(kept | {"base": base} | more))

    @staticmethod
    def with_batch(release: Release, batch: int) -> Release:
        """The release with another compute batch, all the way down."""
        base = release.base and Release.with_batch(release.base, batch)
        return replace(release, batch=batch, base=base)

    @property
    def answers_raw(self) -> bool:
        """Whether eps() is the raw network's answer: then DENOISER and WEIGHTS see the same numbers."""
        return type(self).eps is Release.eps and (self.base is None or self.base.answers_raw)

    def unprotected(self) -> Release:
        """The raw network behind the plain sampler: what whoever holds the weights can run."""
        plain = (self.network, self.schedule, self.streams, self.shape, self.device, self.batch)
        return Release(*plain)

    def raw_eps(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The raw network's noise prediction (N, C, H, W)."""
        answer: Tensor = self.network(x, t, label)
        return answer

    def eps(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The noise prediction as the service answers it (N, C, H, W): by default the base's, or the raw one."""
        return self.base.eps(x, t, label) if self.base else self.raw_eps(x, t, label)

    def start(self, ids: Tensor, draw: int = 0) -> Tensor:
        """Initial noise x_T of the samples with these numbers: the same for every defense (same-seed pairs)."""
        return self.streams.of("sampling").normal(ids, self.shape, draw)

    def generate(self, ids: Tensor, label: Tensor | None = None, draw: int = 0) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] for the sample numbers `ids` (N,): one compute batch.

        `draw` numbers further candidates for the same sample (0 is the one that all defenses share).
        """
        from leakbench.diffusion import denoise

        return denoise(self.schedule, self.eps, self.start(ids, draw), label)

    def facts(self) -> dict[str, Any]:
        """JSON-able facts that sampling showed, asked once, right after sample(); by default those of the base."""
        return self.base.facts() if self.base else {}

    def sample(self, n: int, label: Tensor | None = None, first: int = 0) -> Tensor:
        """The samples numbered first .. first + n - 1, on the CPU, float32; seeded by the release's streams.

        `label` (n,) for a conditional network; by default uniform labels, the same for every defense.
        """
        import torch

        from leakbench.device import autocast, in_batches

        ids = torch.arange(first, first + n, device=self.device)
        if label is None and self.network.spec.conditions:
            label = self.streams.of("sampling", "labels").integers(ids, self.network.spec.conditions)

        def batch(ids: Tensor, label: Tensor | None = None) -> Tensor:
            return self.generate(ids, label).float()

        with torch.no_grad(), autocast(self.device):
            return in_batches(batch, ids, *(() if label is None else (label,)), size=self.batch).cpu()

    def vary(self, x0: Tensor, strength: float, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """Image variation: noise to strength * T (0 to 1), then denoise as the service does."""
        from leakbench.diffusion import vary

        return vary(self.schedule, self.eps, x0, strength, noise, label)


class Defense(Plugin):
    """A way to train, edit or sample a model so that it leaks less.

    `fit` may depend on the training-stage parameters only: a sweep of sampling-stage parameters trains nothing.
    """

    needs_base: ClassVar[bool] = False  # whether `base = "<id>"` must be given
    role: ClassVar[Literal["baseline", "defense", "control"]] = "defense"  # control: cannot leak (negative control)

    def work(self) -> int:
        """About how many network evaluations fit() spends (one image forward is 1, forward and backward 3)."""
        return 0

    def fit(self, task: Task) -> Artefacts:
        """Train; nothing to train by default."""
        return Artefacts()

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Apply the sampling-stage parameters. From `task` it may read all but the training images, labels and
        groups: what a sampler needs of those has to be in the artefacts, because then it ships."""
        raise NotImplementedError


@dataclass(frozen=True)
class Need:
    """Another release that an attack needs, trained by the target's own recipe at the bottom of its chain.

    It is trained on a random share of all images but `reference`: shadow model number `draw` of LiRA has share 0.5.
    The attack finds it as view.others[name] = (eps of that release, mask of this batch's images that it was trained
    on).
    """

    name: str
    draw: int
    share: float = 0.5


class Attack(Plugin):
    """A question put to a release."""

    family: ClassVar[Literal["membership", "replication", "attribute", "unlearning"]]
    access: ClassVar[Access]
    requires_parts: ClassVar[frozenset[str]] = frozenset()  # unmet: not applicable, which is no failure

    def needs(self) -> tuple[Need, ...]:
        """Other releases to train for this attack; the plan trains each once for all that ask."""
        return ()


@dataclass(frozen=True)
class Calibration:
    """Calibration images for attacks that learn, tune or orient themselves. None of them is ever reported.

    images (N, C, H, W), labels (N,) or None, member (N,) bool. `scores(attack)` asks the release, at the attack's own
    access level, for the attack's scores of these images, (N,) float64. `streams` are for an attack's own randomness.
    """

    images: Tensor
    labels: Tensor | None
    member: np.ndarray
    scores: Callable[[MembershipAttack], np.ndarray]
    streams: Streams


class MembershipAttack(Attack):
    """Was this image in the training set? Higher score = more likely a member."""

    family = "membership"

    def fit(self, calibration: Calibration) -> MembershipAttack:
        """A fitted copy of the attack; itself if there is nothing to learn."""
        return self

    def score(self, view: Any, images: Tensor, labels: Tensor | None) -> Tensor:
        """Scores (N,) of one compute batch of images (N, C, H, W)."""
        raise NotImplementedError

    @property
    def learns(self) -> bool:
        """Whether it reads calibration labels. Its calibration scores are then made out of fold, by the harness."""
        return type(self).fit is not MembershipAttack.fit


class ReplicationAttack(Attack):
    """Does a sample repeat a training image? The harness asks the same of held-out real images: the null."""

    family = "replication"
    access = Access.SAMPLES

    def match(self, queries: Tensor, train: Tensor, embed: Callable[[Tensor], Tensor]) -> Matches:
        """Match queries (N, C, H, W) with training images (M, C, H, W). `embed` gives the suite's features (N, D)."""
        raise NotImplementedError

    def space(self, features: str) -> str:
        """The space of the similarity, for the record's `features`: the suite's features unless overridden."""
        return features


@dataclass(frozen=True)
class MembershipEvidence:
    """Raw scores, float64, higher = more likely a member."""

    member_scores: np.ndarray
    nonmember_scores: np.ndarray
    calibration_member_scores: np.ndarray
    calibration_nonmember_scores: np.ndarray


@dataclass(frozen=True)
class ReplicationEvidence:
    """Similarities to the nearest training image, and its index: of samples, of held-out real images on which the
    threshold is chosen, and of other held-out real images on which its false-copy rate is measured."""

    similarity: np.ndarray
    nearest: np.ndarray
    threshold_similarity: np.ndarray
    null_similarity: np.ndarray

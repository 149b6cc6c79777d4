"""Runs the membership attacks of one release, batch by batch, sharing network calls.

Every attack sees the same images in the same batches of fixed sizes with the same noise. A DENOISER attack is asked at
both levels, with the service's answers and with the raw network's; where those are the same it is computed once and
written for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from leakbench.api import (
    Access,
    Attack,
    MembershipAttack,
    Query,
    Release,
)
from leakbench.api.answer_cache import LIMIT, AnswerCache, QueriedRelease
from leakbench.api.views import VIEWS, NoneView, QueryCount
from leakbench.data.image_batch import Batch, Images
from leakbench.runtime import distributed
from leakbench.runtime.batch_sizes import fixed_batches
from leakbench.runtime.device import AdaptiveBatch, Rng
from leakbench.runtime.errors import UsageError


@dataclass(frozen=True)
class AttackRequest:
    """An attack at an access level: `raw` asks the raw network instead of the service."""

    attack: MembershipAttack
    raw: bool


@dataclass(frozen=True)
class AuxiliaryRelease:
    """Another release that attacks need, and the rows of the data set that it was trained on."""

    source: QueriedRelease
    rows: np.ndarray


@dataclass
class CallCount:
    """Calls of eps by attacks that share them, an image: as made, and as if each of the `attacks` ran alone. `seconds`:
    of all calls of eps; on a CUDA device until they were launched."""

    together: float = 0.0
    apart: float = 0.0
    attacks: float = 0.0
    seconds: float = field(default=0.0, compare=False)

    @property
    def facts(self) -> dict[str, float]:
        """What is the same whenever it is counted."""
        return {"together": self.together, "apart": self.apart, "attacks": self.attacks}


@dataclass(frozen=True)
class _Put:
    """A query, and the view through which it is put."""

    question: Query
    attack: Attack
    raw: bool
    scores: bool  # whether the answer is one number an image

    @property
    def shares(self) -> bool:
        return getattr(self.attack, "shares", False) and self.attack.access is Access.DENOISER


@dataclass(frozen=True)
class AttackTarget:
    """The release under attack with its samples, and other releases that attacks need, by the names of their models."""

    source: QueriedRelease
    streams: Rng
    others: Mapping[str, AuxiliaryRelease] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        release: Release,
        streams: Rng,
        samples: Callable[[], Tensor] = lambda: torch.empty(0),
        others: Mapping[str, AuxiliaryRelease] | None = None,
    ) -> AttackTarget:
        """A target whose samples are drawn when they are first asked for."""
        return cls(QueriedRelease(release, samples), streams, others or {})

    @property
    def release(self) -> Release:
        """The release under attack."""
        return self.source.release

    def score(
        self, asked: Mapping[str, AttackRequest], images: Images, calls: CallCount | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Scores (N,) float64 and queries an image, of every asked attack. They share the batches' network calls."""
        put = {name: _Put(one.attack.score, one.attack, one.raw, True) for name, one in asked.items()}
        answers, counts = self._put(put, images, calls or CallCount())
        # One copy to the host an attack, after the loop: a copy a batch would make the device wait.
        scores = {name: answer.double().cpu().numpy() for name, answer in answers.items()}
        return scores, {name: one.mean for name, one in counts.items()}

    def ask(
        self, question: Query, attack: Attack, raw: bool, images: Images, count: QueryCount | None = None
    ) -> Tensor:
        """The answers (N, ...) to a question put through the view that the attack's access allows. The calls that it
        makes are added to `count`."""
        answers, counts = self._put({"": _Put(question, attack, raw, False)}, images, CallCount())
        if count is not None:
            count.add(counts[""])
        return answers[""]

    def _put(
        self, put: Mapping[str, _Put], images: Images, calls: CallCount
    ) -> tuple[dict[str, Tensor], dict[str, QueryCount]]:
        """Every process of a group puts them to its share of the images; smaller batches where memory runs out."""
        self._check_needs(put)
        count, batch = len(images.ids), self.release.batch
        if distributed.world_size() == 1:
            return self._room(put).run(partial(self._batches, put, images, calls))
        if any(one.attack.access is Access.SAMPLES for one in put.values()):
            _ = self.source.samples  # drawn together, before each works for itself
        mine, answers, counts = distributed.shard(count, batch), dict[str, Tensor](), dict[str, QueryCount]()
        if mine.start < mine.stop:
            some = images.take(torch.arange(mine.start, mine.stop, device=images.ids.device))
            with distributed.single_process():
                answers, counts = self._room(put).run(partial(self._batches, put, some, calls))
        counts, told = distributed.broadcast(lambda: (counts, calls))  # the first process always has images
        for one in counts.values():
            one.extrapolate(count)
        calls.together, calls.apart, calls.attacks = told.together, told.apart, told.attacks
        return {name: distributed.all_gather(answers.get(name), count, batch) for name in put}, counts

    def _room(self, put: Mapping[str, _Put]) -> AdaptiveBatch:
        kinds = sorted({f"{one.attack.name} {one.raw}" for one in put.values()})
        network = f"{type(self.release).__name__} {[*self.release.shape]}"
        return AdaptiveBatch(f"scoring {network} by {', '.join(kinds)}", self.release.device, self.release.batch)

    def _batches(
        self, put: Mapping[str, _Put], images: Images, calls: CallCount, full: int
    ) -> tuple[dict[str, Tensor], dict[str, QueryCount]]:
        """All images in batches of `full` rows, the rest in smaller ones."""
        answers: dict[str, Tensor] = {}
        counts = {name: QueryCount() for name in put}
        together = 0.0
        masks = self._masks(images.ids)
        with torch.no_grad():
            for rows, short in fixed_batches(len(images.ids), full):
                asked = rows.stop - rows.start
                index = torch.arange(rows.start, rows.stop + short, device=images.ids.device)
                index[asked:] = rows.start  # a short batch is padded by its first row
                batch = images.take(index).batch  # the one place where pixels of attacked images are made
                memory = self._memory(self.source, batch)
                others = {
                    name: (self._memory(one.source, batch, memory), masks[name][index])
                    for name, one in self.others.items()
                }
                for name, one in put.items():
                    needed = {need.name: others[need.name] for need in one.attack.auxiliary_models()}
                    view = VIEWS[one.attack.access](memory, one.raw, needed, one.shares, counts[name])
                    found = self._checked_answer(one, view, batch, memory)[:asked]
                    # Into one place: small tensors kept from every batch would hold the memory between them.
                    answers.setdefault(name, found.new_empty(len(images.ids), *found.shape[1:]))[rows] = found
                    counts[name].finish(asked)
                together += memory.calls * asked
                calls.seconds += memory.seconds + sum(other.seconds for other, _ in others.values())
        sharing = [name for name, one in put.items() if one.shares]
        calls.together, calls.attacks = together / len(images.ids), float(len(sharing))
        calls.apart = sum(counts[name].mean for name in sharing)
        return answers, counts

    def _checked_answer(self, put: _Put, view: NoneView, batch: Batch, memory: AnswerCache) -> Tensor:
        """The answers for a batch. Raises ValueError where an attack reads samples and its records are not keyed by
        their number."""
        sources = [self.source, *(other.source for other in self.others.values())]
        for source in sources:
            source.samples_read = False
        answer = _answer(put, view, batch, memory)
        if not put.attack.may_read_samples and any(source.samples_read for source in sources):
            raise ValueError(
                f"it reads samples at {put.attack.access.name}: say `reads_samples = True` in its class, so that its "
                "records are made again when the number of samples changes"
            )
        return answer

    def _check_needs(self, put: Mapping[str, _Put]) -> None:
        for one in put.values():
            for need in one.attack.auxiliary_models():
                if need.name not in self.others:
                    raise UsageError(f"{one.attack.name} needs the {need.kind} model {need.name!r}, and there is none")

    def _memory(self, source: QueriedRelease, batch: Batch, noises: AnswerCache | None = None) -> AnswerCache:
        """Of one release; all that serve a batch share its noise. Half of the memory is the target's."""
        limit = LIMIT if not self.others else LIMIT // 2 if noises is None else LIMIT // (2 * len(self.others))
        return AnswerCache(source, self.streams, batch.images, batch.ids, batch.labels, limit, noises)

    def _masks(self, ids: Tensor) -> dict[str, Tensor]:
        """Masks (N,) of the images that each auxiliary release was trained on."""
        return {
            name: torch.isin(ids, torch.from_numpy(other.rows).to(ids.device)) for name, other in self.others.items()
        }


def _answer(put: _Put, view: NoneView, batch: Batch, memory: AnswerCache) -> Tensor:
    """The answers (N, ...) for a batch, which it shares with all others: nobody may write to it.

    Who may ask the denoiser is given what it denoises, x0; all others images.
    """
    inside = put.attack.access >= Access.DENOISER
    found = put.question(view, memory.x0 if inside else batch.images, batch.labels)
    if not isinstance(found, Tensor):
        raise TypeError(f"the attack answered {type(found).__name__}; it must be a tensor")
    if put.scores and found.shape != (len(batch.ids),):
        raise ValueError(
            f"score() answered with shape {tuple(found.shape)}; it must be ({len(batch.ids)},), one an image"
        )
    if not memory.untouched:
        raise ValueError(
            "score() wrote to images, noise or answers that it was given; they are other attacks' as well: clone them"
        )
    memory.settled()
    return found

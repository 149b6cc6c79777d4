"""Runs the membership attacks of one release, batch by batch, sharing network calls.

Every attack sees the same images in the same fixed, padded batches with the same noise. A DENOISER attack is asked at
both levels, with the service's answers and with the raw network's; where those are the same it is computed once and
written for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from leakbench.api import (
    Access,
    Attack,
    MembershipAttack,
    Question,
    Release,
)
from leakbench.device import Streams, padded
from leakbench.errors import UsageError
from leakbench.memory import LIMIT, BatchMemory, Source
from leakbench.views import VIEWS, NoneView


@dataclass(frozen=True)
class Images:
    """Attacked images (N, C, H, W) with their row numbers in the data set and labels, all on one device."""

    images: Tensor
    ids: Tensor
    labels: Tensor | None

    def take(self, index: Tensor) -> Images:
        """Some of them, by position."""
        return Images(self.images[index], self.ids[index], None if self.labels is None else self.labels[index])


@dataclass(frozen=True)
class Asked:
    """An attack at an access level: `raw` asks the raw network instead of the service."""

    attack: MembershipAttack
    raw: bool


@dataclass(frozen=True)
class Trained:
    """Another release that attacks need, and the rows of the data set that it was trained on."""

    source: Source
    rows: np.ndarray


@dataclass
class Calls:
    """Calls of eps by attacks that share them, an image: as made, and as if each of the `attacks` ran alone."""

    together: float = 0.0
    apart: float = 0.0
    attacks: float = 0.0


@dataclass(frozen=True)
class _Put:
    """A question, and the view through which it is put."""

    question: Question
    attack: Attack
    raw: bool
    scores: bool  # whether the answer is one number an image

    @property
    def shares(self) -> bool:
        return getattr(self.attack, "shares", False) and self.attack.access is Access.DENOISER


@dataclass(frozen=True)
class Target:
    """What is attacked: a release with its samples, and other releases that attacks need, by the names of needs()."""

    source: Source
    streams: Streams
    others: Mapping[str, Trained] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        release: Release,
        streams: Streams,
        samples: Callable[[], Tensor] = lambda: torch.empty(0),
        others: Mapping[str, Trained] | None = None,
    ) -> Target:
        """A target whose samples are drawn when they are first asked for."""
        return cls(Source(release, samples), streams, others or {})

    @property
    def release(self) -> Release:
        """The release under attack."""
        return self.source.release

    def score(
        self, asked: Mapping[str, Asked], images: Images, calls: Calls | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Scores (N,) float64 and queries an image, of every asked attack. They share the batches' network calls."""
        put = {name: _Put(one.attack.score, one.attack, one.raw, True) for name, one in asked.items()}
        answers, queries = self._put(put, images, calls or Calls())
        # One copy to the host an attack, after the loop: a copy a batch would make the device wait.
        return {name: answer.double().cpu().numpy() for name, answer in answers.items()}, queries

    def ask(self, question: Question, attack: Attack, raw: bool, images: Images) -> Tensor:
        """The answers (N, ...) to a question put through the view that the attack's access allows."""
        return self._put({"": _Put(question, attack, raw, False)}, images, Calls())[0][""]

    def _put(self, put: Mapping[str, _Put], images: Images, calls: Calls) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Halves the batch when a CUDA device runs out of memory."""
        try:
            return self._batches(put, images, calls)
        except torch.cuda.OutOfMemoryError:
            if self.release.batch == 1:
                raise
            torch.cuda.empty_cache()
        self.source.release = Release.with_batch(self.release, self.release.batch // 2)
        return self._put(put, images, calls)

    def _batches(
        self, put: Mapping[str, _Put], images: Images, calls: Calls
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        self._check_needs(put)
        answers: dict[str, list[Tensor]] = {name: [] for name in put}
        queries: dict[str, float] = {}
        calls.together, calls.apart = 0.0, 0.0
        masks = self._masks(images.ids)
        with torch.no_grad():
            for rows, short in padded(len(images.ids), self.release.batch):
                index = torch.arange(rows.start, rows.start + self.release.batch, device=images.ids.device)
                index[len(index) - short :] = rows.start  # a short batch is padded by its first row
                batch = images.take(index)
                memory = self._memory(self.source, batch)
                others = {
                    name: (self._memory(one.source, batch, memory), masks[name][index])
                    for name, one in self.others.items()
                }
                for name, one in put.items():
                    needed = {need.name: others[need.name] for need in one.attack.needs()}
                    view = VIEWS[one.attack.access](memory, one.raw, needed, one.shares)
                    answers[name].append(_answer(one, view, batch, memory)[: len(index) - short])
                    queries[name] = view.queries
                calls.together = float(memory.calls)
        sharing = [name for name, one in put.items() if one.shares]
        calls.apart, calls.attacks = sum(queries[name] for name in sharing), float(len(sharing))
        return {name: torch.cat(parts) for name, parts in answers.items()}, queries

    def _check_needs(self, put: Mapping[str, _Put]) -> None:
        for one in put.values():
            for need in one.attack.needs():
                if need.name not in self.others:
                    raise UsageError(f"{one.attack.name} needs the {need.kind} model {need.name!r}, and there is none")

    def _memory(self, source: Source, batch: Images, noises: BatchMemory | None = None) -> BatchMemory:
        """Of one release; all that serve a batch share its noise. Half of the memory is the target's."""
        limit = LIMIT if not self.others else LIMIT // 2 if noises is None else LIMIT // (2 * len(self.others))
        return BatchMemory(source, self.streams, batch.images, batch.ids, batch.labels, limit, noises)

    def _masks(self, ids: Tensor) -> dict[str, Tensor]:
        """Which of the images (N,) each of the other releases was trained on."""
        return {
            name: torch.isin(ids, torch.from_numpy(other.rows).to(ids.device)) for name, other in self.others.items()
        }


def _answer(put: _Put, view: NoneView, batch: Images, memory: BatchMemory) -> Tensor:
    """The answers (N, ...) for a batch, which it shares with all others: nobody may write to it."""
    found = put.question(view, batch.images, batch.labels)
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

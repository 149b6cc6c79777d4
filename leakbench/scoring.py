"""Runs the membership attacks of one release, batch by batch, sharing network calls.

Every attack sees the same images in the same fixed, padded batches with the same noise. A DENOISER attack is asked at
both levels, with the service's answers and with the raw network's; where those are the same it is computed once and
written for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Access, Calibration, MembershipAttack, MembershipEvidence, Release
from leakbench.device import Streams, padded
from leakbench.diffusion import Eps
from leakbench.views import VIEWS, BatchMemory, NoneView

CALIBRATION_FOLDS = 4


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


Others = Mapping[str, tuple[Eps, np.ndarray]]  # name -> (eps of that release, rows of the data set it was trained on)


@dataclass(frozen=True)
class Target:
    """What is attacked: a release, its samples, and other releases that attacks need."""

    release: Release
    samples: Tensor
    streams: Streams
    others: Others
    drawn: dict[tuple[Any, ...], Tensor] = field(default_factory=dict)  # further samples that attacks asked for

    def score(self, asked: Mapping[str, Asked], images: Images) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Scores (N,) float64 and queries an image, of every asked attack. They share the batches' network calls.

        Halves the batch when a CUDA device runs out of memory.
        """
        try:
            return self._score(asked, images)
        except torch.cuda.OutOfMemoryError:
            if self.release.batch == 1:
                raise
            torch.cuda.empty_cache()
        halved = replace(self, release=Release.with_batch(self.release, self.release.batch // 2))
        return halved.score(asked, images)

    def _score(self, asked: Mapping[str, Asked], images: Images) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        scores: dict[str, list[Tensor]] = {name: [] for name in asked}
        queries: dict[str, float] = {}
        masks = self._masks(images.ids)
        with torch.no_grad():
            for rows, short in padded(len(images.ids), self.release.batch):
                index = torch.arange(rows.start, rows.start + self.release.batch, device=images.ids.device)
                index[len(index) - short :] = rows.start  # a short batch is padded by its first row
                batch = images.take(index)
                memory = BatchMemory(
                    self.release, self.streams, batch.images, batch.ids, batch.labels, drawn=self.drawn
                )
                for name, one in asked.items():
                    others = {other: (self.others[other][0], mask[index]) for other, mask in masks.items()}
                    view = VIEWS[one.attack.access](memory, self.samples, one.raw, others)
                    scores[name].append(_asked(one.attack, view, batch, memory).double()[: len(index) - short])
                    queries[name] = view.queries
        # One copy to the host an attack, after the loop: a copy a batch would make the device wait.
        return {name: torch.cat(parts).cpu().numpy() for name, parts in scores.items()}, queries

    def _masks(self, ids: Tensor) -> dict[str, Tensor]:
        """Which of the images (N,) each of the other releases was trained on."""
        return {name: torch.isin(ids, torch.from_numpy(rows).to(ids.device)) for name, (_, rows) in self.others.items()}


def _asked(attack: MembershipAttack, view: NoneView, batch: Images, memory: BatchMemory) -> Tensor:
    """The attack's scores (N,) of a batch, which it shares with all others: it may not write to it."""
    found = attack.score(view, batch.images, batch.labels)
    if found.shape != (len(batch.ids),):
        raise ValueError(
            f"score() answered with shape {tuple(found.shape)}; it must be ({len(batch.ids)},), one an image"
        )
    if not memory.untouched:
        raise ValueError(
            "score() wrote to images, noise or answers that it was given; they are other attacks' as well: clone them"
        )
    return found


def collect(
    target: Target, asked: Mapping[str, Asked], parts: Mapping[str, Images]
) -> tuple[dict[str, MembershipEvidence], dict[str, float]]:
    """Evidence and queries of every asked attack. `parts` are the reported and the calibration parts of the split.

    Attacks that learn are fitted on all calibration images; their own calibration scores come from fits that did not
    see the image (stratified folds), so that an attack that memorised its training images cannot look strong.
    """
    names = ("member", "nonmember", "calibration_in", "calibration_out")
    counts = [len(parts[name].ids) for name in names]
    everything, calibration = _join([parts[name] for name in names]), _join([parts[name] for name in names[2:]])
    member = np.repeat([True, False], counts[2:])
    out_of_fold = {
        name: _out_of_fold(target, one, calibration, member) for name, one in asked.items() if one.attack.learns
    }
    ready = {
        name: Asked(_fit(target, one, calibration, member, np.arange(len(member))), one.raw)
        for name, one in asked.items()
    }
    scores, queries = target.score(ready, everything)
    evidence = {}
    for name, found in scores.items():
        members, nonmembers, inside, outside = np.split(found, np.cumsum(counts)[:-1])
        if name in out_of_fold:
            inside, outside = out_of_fold[name][member], out_of_fold[name][~member]
        evidence[name] = MembershipEvidence(members, nonmembers, inside, outside)
    return evidence, queries


def _fit(target: Target, one: Asked, images: Images, member: np.ndarray, rows: np.ndarray) -> MembershipAttack:
    if not one.attack.learns:
        return one.attack
    chosen = images.take(torch.from_numpy(rows).to(images.ids.device))

    def scores(attack: MembershipAttack) -> np.ndarray:
        return target.score({"": Asked(attack, one.raw)}, chosen)[0][""]

    return one.attack.fit(Calibration(chosen.images, chosen.labels, member[rows], scores, target.streams))


def _out_of_fold(target: Target, one: Asked, images: Images, member: np.ndarray) -> np.ndarray:
    """Each calibration image's score by a fit on the other folds."""
    fold = np.empty(len(member), dtype=np.int64)
    for side in (True, False):  # stratified, and dealt in turn, so that each fold spans the data set's order
        rows = np.flatnonzero(member == side)
        fold[rows] = np.arange(len(rows)) % CALIBRATION_FOLDS
    scores = np.empty(len(member))
    for number in range(CALIBRATION_FOLDS):
        fitted = _fit(target, one, images, member, np.flatnonzero(fold != number))
        left = np.flatnonzero(fold == number)
        kept_out = images.take(torch.from_numpy(left).to(images.ids.device))
        scores[left] = target.score({"": Asked(fitted, one.raw)}, kept_out)[0][""]
    return scores


def _join(parts: list[Images]) -> Images:
    labels = [part.labels for part in parts]
    return Images(
        torch.cat([part.images for part in parts]),
        torch.cat([part.ids for part in parts]),
        None if labels[0] is None else torch.cat([label for label in labels if label is not None]),
    )


def rows_written(attack: MembershipAttack, answers_raw: bool) -> dict[Access, bool]:
    """Access levels at which an attack is written, each with whether it asks the raw network there."""
    if attack.access is not Access.DENOISER:
        return {attack.access: attack.access is Access.WEIGHTS}
    return {Access.DENOISER: answers_raw, Access.WEIGHTS: True}

"""Collects membership evidence: attacks that learn are fitted, then all score all images together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Access, Calibration, ImageSet, MembershipAttack, MembershipEvidence, Query
from leakbench.api.membership import CALIBRATION_FOLDS
from leakbench.data.image_batch import Images
from leakbench.data.image_view import ImageView
from leakbench.measurement.query_engine import AttackRequest, AttackTarget, CallCount
from leakbench.models.latent_cache import encode_images
from leakbench.models.pair_reader import leave_pairs_out
from leakbench.runtime.errors import UsageError


def collect_membership_evidence(
    target: AttackTarget,
    asked: Mapping[str, AttackRequest],
    parts: Mapping[str, Images],
    calls: CallCount | None = None,
    folds: int = CALIBRATION_FOLDS,
    held_back: Mapping[str, Images] | None = None,
    calibration_groups: np.ndarray | None = None,
    reported_groups: np.ndarray | None = None,
) -> tuple[dict[str, MembershipEvidence], dict[str, float]]:
    """Evidence and queries of every asked attack. `parts` are those of the split; `reference` only if one learns.
    `generated`, if it is among them, are samples of the release for the control, which adds nothing to the queries; nor
    do `held_back` images of the people of each part. Without calibration images attacks score as they are, and those of
    `leaves_pairs_out` learn from all images but a pair, judged by permuting `reported_groups`, if any, members first.

    Attacks that learn from calibration images are fitted on all of them; their own calibration scores come from fits
    that did not see the image (stratified `folds`), nor others of its person where `calibration_groups`, members first,
    says whose they are, so that an attack that memorised its training images cannot look strong. `calls` is told what
    the shared calls of the last scoring came to.
    """
    names = ("member", "nonmember", "calibration_in", "calibration_out")
    counts = [len(parts[name].ids) for name in names]
    everything, calibration = (Images.concatenate([parts[name] for name in chosen]) for chosen in (names, names[2:]))
    member = np.repeat([True, False], counts[2:])
    studio = CalibrationFitter(target, calibration, member, parts.get("reference"), calibration_groups)
    few = not len(member)
    pairs = {name: one for name, one in asked.items() if few and one.attack.leaves_pairs_out}
    asked = {name: one for name, one in asked.items() if name not in pairs}
    out_of_fold = {name: studio.out_of_fold(one, folds) for name, one in asked.items() if one.attack.out_of_fold}
    ready = {name: AttackRequest(studio.fit(one), one.raw) for name, one in asked.items()}
    scores, queries = target.score(ready, everything, calls) if ready or not few else ({}, {})
    control = {name: one for name, one in ready.items() if "generated" in parts and judges_generated(one.attack)}
    generated = target.score(control, parts["generated"])[0] if control else {}
    others = {part: target.score(ready, images)[0] for part, images in (held_back or {}).items()}
    evidence = {
        name: studio.leave_pairs_out(one, everything, counts[0], reported_groups) for name, one in pairs.items()
    }
    queries |= dict.fromkeys(pairs, 0.0)
    for name, found in scores.items():
        members, nonmembers, inside, outside = np.split(found, np.cumsum(counts)[:-1])
        if name in out_of_fold:
            inside, outside = out_of_fold[name][member], out_of_fold[name][~member]
        told = {part: of[name] for part, of in others.items()} or None
        evidence[name] = MembershipEvidence(
            members, nonmembers, inside, outside, generated_scores=generated.get(name), other_scores=told
        )
    return evidence, queries


def judges_generated(attack: MembershipAttack) -> bool:
    """Tell whether scores of the release's own samples say something: not where the attack never asks the model, nor
    where it compares images with these very samples."""
    return attack.access >= Access.API and not attack.reads_samples


@dataclass(frozen=True)
class CalibrationFitter:
    """Fits attacks on calibration images and public ones. No reported image comes in. groups: whose each image is."""

    target: AttackTarget
    images: Images
    member: np.ndarray
    public: Images | None
    groups: np.ndarray | None = None

    def fit(self, one: AttackRequest, rows: np.ndarray | None = None) -> MembershipAttack:
        """The attack, fitted on all calibration images or on some of them."""
        if not one.attack.learns:
            return one.attack
        rows = np.arange(len(self.member)) if rows is None else rows
        chosen = self.images.take(torch.from_numpy(rows).to(self.images.ids.device))
        group = self._group(one, chosen)
        public = self._group(one, chosen.take(torch.arange(0)) if self.public is None else self.public)
        member, streams = self.member[rows], self.target.streams
        return one.attack.fit(Calibration(group.images, group.labels, group.ask, member, public, streams))

    def _group(self, one: AttackRequest, images: Images) -> ImageSet:
        def ask(question: Query) -> Tensor:
            return self.target.ask(question, one.attack, one.raw, images)

        inside = one.attack.access >= Access.DENOISER  # it sees what the network denoises, as when it scores
        pictures = ImageView.concatenate([images.images])
        seen = encode_images(pictures, self.target.release) if inside else pictures
        return ImageSet(seen, images.labels, ask)

    def leave_pairs_out(
        self, one: AttackRequest, reported: Images, members: int, groups: np.ndarray | None
    ) -> MembershipEvidence:
        """Evidence of an attack that learns from the reported images, members first, but for a pair of them."""
        found = leave_pairs_out(one.attack.describe(self._group(one, reported)), members, groups)
        none = np.empty(0)
        return MembershipEvidence(found.member, found.nonmember, none, none, permuted_aucs=found.permuted)

    def out_of_fold(self, one: AttackRequest, folds: int) -> np.ndarray:
        """Each calibration image's score by a fit on the other folds, of which there are no more than images of a
        kind. Raises UsageError below two."""
        fewest = min(int(self.member.sum()), int((~self.member).sum()))
        if fewest < 2:
            raise UsageError(
                f"attack {one.attack.name!r} learns from calibration images, and the split has {fewest} of a side; "
                "ask for at least 2 under [split]"
            )
        fold = self._deal(folds)
        scores = np.empty(len(self.member))
        for number in range(int(fold.max()) + 1):
            fitted = replace(one, attack=self.fit(one, np.flatnonzero(fold != number)))
            left = np.flatnonzero(fold == number)
            kept_out = self.images.take(torch.from_numpy(left).to(self.images.ids.device))
            scores[left] = self.target.score({"": fitted}, kept_out)[0][""]
        return scores

    def _deal(self, folds: int) -> np.ndarray:
        """The fold of each image: stratified, and dealt in turn, so that each fold spans the data set's order. The
        images of a person, of both sides, are in one fold, unless that leaves a fit without one of the sides."""
        sides = [np.flatnonzero(self.member == side) for side in (True, False)]
        images = np.arange(len(self.member))
        for whose in (images if self.groups is None else self.groups, images):
            dealt = _deal_units([whose[rows].tolist() for rows in sides], folds)
            fold = np.array([dealt[one] for one in whose.tolist()])
            if all(len(np.unique(fold[rows])) > 1 for rows in sides):
                break
        return fold


def _deal_units(sides: list[list[int]], folds: int) -> dict[int, int]:
    """The fold of each unit (person or image) on two sides, in turn on each, in no more folds than a side has units."""
    units = [list(dict.fromkeys(side)) for side in sides]
    folds = min(folds, *map(len, units))
    dealt: dict[int, int] = {}
    for side in units:
        dealt |= {one: number % folds for number, one in enumerate(one for one in side if one not in dealt)}
    return dealt

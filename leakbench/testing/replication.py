"""Checks of a replication attack: a planted copy must be found; what it generates or recovers must not depend on its
batch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from math import isfinite

import numpy as np
import torch
from torch import Tensor

from leakbench.api import RecoveryAttack, ReplicationAttack
from leakbench.api.answer_cache import QueriedRelease
from leakbench.data.image_batch import Images
from leakbench.data.image_view import ImageView
from leakbench.data.neighbours import Matches
from leakbench.measurement.extraction import extract_candidates, recover
from leakbench.measurement.query_engine import AttackTarget
from leakbench.testing.check import CLOSE, Check, expect, expect_finite, expect_images, expect_same
from leakbench.testing.scores import score_checks
from leakbench.testing.settings import attack_setting, machine_lacks
from leakbench.testing.toys import COUNT, SHAPE, toy_images, toy_release, toy_rng

_TRAIN = 64  # training images: some attacks look at that many neighbours
_SAMPLES = 60
_COPIED = 5  # the training image that is planted among the queries


def replication_checks(plugin: type[ReplicationAttack]) -> Iterator[Check]:
    """Checks of the matches, of the candidates where it makes some, or of the recoveries."""
    attack = plugin()

    def published() -> None:
        value = attack.published
        expect(value is None or isfinite(value), "a number or None", repr(value), plugin)

    yield Check("a published threshold is a number", published, plugin)
    if lacking := machine_lacks(attack):
        yield Check("it matches", lambda: None, skip=lacking)
    elif isinstance(attack, RecoveryAttack):
        yield from score_checks(partial(_recovered, attack), type(attack).recover, counted=True)
    else:
        yield from _matching_checks(attack)
        if attack.generates:
            yield from _candidate_checks(attack)


def _matching_checks(attack: ReplicationAttack) -> Iterator[Check]:
    queries, method = toy_images(9, "queries"), type(attack).match
    planted = torch.cat([queries, toy_images(_TRAIN, "train")[_COPIED : _COPIED + 1]])
    backwards = torch.arange(8, -1, -1)
    match = cache(lambda name: _match(attack, {"queries": queries, "planted": planted}[name]))

    def shapes() -> None:
        found = match("queries")
        expect(len(found.index) == len(found.similarity) == 9, "9 matches", str(len(found.index)), method)
        inside = (found.index >= 0) & (found.index < _TRAIN)
        expect(bool(inside.all()), f"indices 0 .. {_TRAIN - 1}", str(found.index[~inside]), method)

    def copied() -> None:
        found = match("planted")
        top = int(np.argmax(found.similarity))
        got = f"{found.index[-1]} for the copy, and the most similar is query {top}"
        expect(int(found.index[-1]) == _COPIED and top == 9, f"{_COPIED} for the copy, query 9", got, method)

    def alike(one: np.ndarray, other: np.ndarray, ways: tuple[str, str]) -> None:
        expect_same(one, other, "query", ways, method, **CLOSE)

    yield Check("every query is matched with a training image", shapes, method)
    yield Check("similarities are finite", lambda: expect_finite(match("queries").similarity, "query", method), method)
    yield Check("a planted copy is found and is the most similar", copied, method)
    yield Check(
        "order does not change them",
        lambda: alike(
            match("queries").similarity[::-1],
            _match(attack, queries[backwards]).similarity,
            ("in order", "in reverse order"),
        ),
        method,
    )
    yield Check(
        "company does not change them",
        lambda: alike(
            match("planted").similarity[:4], _match(attack, queries[:4]).similarity, ("among ten", "among four")
        ),
        method,
    )
    yield Check("groups are one number an image, or none", lambda: _groups(attack), type(attack).groups)


def _match(attack: ReplicationAttack, queries: Tensor) -> Matches:
    train = ImageView(toy_images(_TRAIN, "train"))
    return attack.match(ImageView(queries), train, lambda images: images[:].flatten(1))


def _groups(attack: ReplicationAttack) -> None:
    group = attack.groups(toy_images(9, "queries"))
    good = group is None or (group.shape == (9,) and group.dtype == np.int64)
    got = "" if group is None else f"{group.dtype} {group.shape}"
    expect(good, "int64 (9,) or None", got, type(attack).groups)


def _candidate_checks(attack: ReplicationAttack) -> Iterator[Check]:
    method = type(attack).candidates
    first = cache(lambda: _candidates(attack))
    yield Check("a view of its access level suffices for its candidates", first, method)
    yield Check(
        "candidates are images in [-1, 1], finite, one a sample",
        lambda: expect_images(first(), _SAMPLES, SHAPE, method),
        method,
    )
    again = ("in one run", "in another")
    yield Check(
        "they are the same twice", lambda: expect_same(first(), _candidates(attack), "candidate", again, method), method
    )
    sizes = ("in batches of 16", "in batches of 25")
    yield Check(
        "batch size does not change them",
        lambda: expect_same(first(), _candidates(attack, 25), "candidate", sizes, method, **CLOSE),
        method,
    )


def _target(attack: ReplicationAttack, batch: int) -> AttackTarget:
    release = toy_release(batch, attack_setting(attack, _TRAIN).condition)
    return AttackTarget(QueriedRelease(release, partial(release.sample, _SAMPLES)), toy_rng())


def _candidates(attack: ReplicationAttack, batch: int = 16) -> Tensor:
    target = _target(attack, batch)
    return extract_candidates(target, attack, target.release.sample(_SAMPLES), lambda images: images.flatten(1)).images


def _recovered(attack: RecoveryAttack, batch: int = 16, reverse: bool = False) -> tuple[np.ndarray, float]:
    rows = torch.arange(COUNT).flip(0) if reverse else torch.arange(COUNT)
    labels = rows % 2 if attack_setting(attack, _TRAIN).condition != "none" else None
    asked = Images(toy_images(COUNT, "images")[rows], rows, labels)
    found, count = recover(_target(attack, batch), attack, asked)
    return (found.flip(0) if reverse else found).double().numpy(), count.mean

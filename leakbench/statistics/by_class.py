"""Leakage by class: members of a class against nonmembers of the same class.

An attack can look weak on average and still expose a rare class, so each class has an AUC of its own, and a test of
whether it differs from the others.

Choices of ours: the others' AUC is the mean of their own AUCs, each within its class and weighted by its smaller side.
The AUC of all other images pooled would also compare images across classes, which differ in difficulty, so it would
differ from a class's own even where all classes leak alike. Classes are disjoint, so `contrast` applies; its p values
are adjusted by Holm. A class with fewer than five images (groups, where there are any) on a side is left out and
counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._scores import Scores, checked
from .auc import auc
from .contrast import contrast
from .estimate import Estimate
from .groups import Groups, count_independent
from .multiple import holm

FEWEST = 5

Sides = tuple[Scores, Scores]


@dataclass(frozen=True)
class ClassLeak:
    """A class's AUC with its interval (not adjusted), and the adjusted p value of "as the other classes", if any."""

    label: int
    auc: Estimate
    members: int
    nonmembers: int
    adjusted: float | None


@dataclass(frozen=True)
class ByClass:
    """The classes in the order of their labels, and how many have too few images to say anything."""

    classes: tuple[ClassLeak, ...]
    left_out: int


def by_class(
    member: ArrayLike,
    member_labels: ArrayLike,
    nonmember: ArrayLike,
    nonmember_labels: ArrayLike,
    level: float = 0.95,
    groups: Groups | None = None,
) -> ByClass:
    """Scores of shapes (m,) and (n,), each with as many whole numbers, the labels; `groups` as in `auc`.

    Raises ValueError where scores are not finite, where there is not one label a score, and for a level outside (0, 1).
    """
    members, nonmembers = checked(member), checked(nonmember)
    inside, outside = _labels(member_labels, members.size), _labels(nonmember_labels, nonmembers.size)
    labels = np.union1d(inside, outside).tolist()
    sides = {label: (members[inside == label], nonmembers[outside == label]) for label in labels}
    whose = None if groups is None else _groups_by_class(groups, inside, outside, labels)
    kept = [label for label, pair in sides.items() if _smaller(pair, None if whose is None else whose[label]) >= FEWEST]
    classes = [sides[label] for label in kept]
    pairs = None if whose is None else [whose[label] for label in kept]
    adjusted = _against_the_others(classes, pairs)
    found = tuple(
        ClassLeak(label, auc(*pair, level, None if whose is None else whose[label]), pair[0].size, pair[1].size, p)
        for label, pair, p in zip(kept, classes, adjusted, strict=True)
    )
    return ByClass(found, len(sides) - len(kept))


def _groups_by_class(
    groups: Groups, inside: NDArray[np.int64], outside: NDArray[np.int64], labels: list[int]
) -> dict[int, Groups]:
    members, nonmembers = (_labels(side, there.size) for side, there in zip(groups, (inside, outside), strict=True))
    return {label: (members[inside == label], nonmembers[outside == label]) for label in labels}


def _smaller(pair: Sides, groups: Groups | None) -> int:
    """Images, or groups, on the smaller side."""
    whose = (None, None) if groups is None else groups
    return min(count_independent(one, side.size) for one, side in zip(whose, pair, strict=True))


def _labels(labels: ArrayLike, count: int) -> NDArray[np.int64]:
    found = np.asarray(labels)
    if found.shape != (count,) or found.dtype.kind not in "biu":
        raise ValueError(f"one whole number a score is needed, {count}, got {found.dtype} of shape {found.shape}")
    return found.astype(np.int64)


def _against_the_others(classes: list[Sides], groups: list[Groups] | None) -> list[float | None]:
    """Adjusted p values of "this class's AUC is the mean of the others'"; None where there are no others."""
    if len(classes) < 2:
        return [None] * len(classes)
    images = np.array([min(member.size, nonmember.size) for member, nonmember in classes], dtype=float)
    raw = []
    for place in range(len(classes)):
        weights = -images / (images.sum() - images[place])
        weights[place] = 1.0
        raw.append(contrast(classes, weights.tolist(), groups=groups).p_value)
    return list(holm(raw))

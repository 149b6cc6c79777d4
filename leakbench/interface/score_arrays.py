"""Scores that another script made, checked: arrays of one number an image, higher = more likely a member.

Members and nonmembers come in pairs: of scores; of scores of calibration images, which are not reported; of labels; of
groups, which are numbered together, so that one person has one number wherever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from leakbench.data import integers
from leakbench.data.group_names import name_groups, number_names
from leakbench.data.npz import whole_or_named
from leakbench.runtime.errors import UsageError

Sides = tuple[np.ndarray, np.ndarray]  # of members, of nonmembers
Names = tuple[str, str]


@dataclass(frozen=True)
class ScoreArrays:
    """Checked scores.

    scores: raw scores of members (m,) and nonmembers (n,), float64. calibration: the same of images that are not
    reported. labels: class of each image, int64 (m,) and (n,). groups: the person or scene of each image, alike;
    calibration_groups: of each calibration image.
    """

    scores: Sides
    calibration: Sides | None = None
    labels: Sides | None = None
    groups: Sides | None = None
    calibration_groups: Sides | None = None


def check_scores(where: str | Path, names: Names, pair: tuple[Any, Any]) -> Sides | None:
    """Scores of both sides as float64; None where neither is given. Raises UsageError that begins with `where` and
    names the array, for one side alone and for what is not at least two numbers in a row."""
    if not is_pair(where, names, pair):
        return None
    first, second = (check_numbers(where, name, np.asarray(array)) for name, array in zip(names, pair, strict=True))
    return first, second


def check_labels(where: str | Path, names: Names, pair: tuple[Any, Any], scores: Sides) -> Sides | None:
    """Labels of both sides, one a score; None where neither is given. Raises UsageError as `check_scores` does."""
    if not is_pair(where, names, pair):
        return None
    inside = integers(where, names[0], np.asarray(pair[0]), scores[0].size)
    outside = integers(where, names[1], np.asarray(pair[1]), scores[1].size)
    assert inside is not None and outside is not None
    return inside, outside


def check_groups(where: str | Path, named: Sequence[tuple[Names, tuple[Any, Any], Sides | None]]) -> list[Sides | None]:
    """Groups of both sides of each pair of scores, one a score, whole numbers or text; None where neither side has any.
    named: the names of two arrays, the arrays, and their scores. Raises UsageError as `check_scores` does."""
    found: list[list[str]] = []
    for names, pair, scores in named:
        if not is_pair(where, names, pair):
            continue
        if scores is None:
            raise UsageError(f"{where}: {names[0]}: there are no scores of these images")
        for name, array, side in zip(names, pair, scores, strict=True):
            one = whole_or_named(where, name, np.asarray(array), side.size)
            assert one is not None
            found.append(name_groups(*one))
    numbers = number_names([name for side in found for name in side]).numbers
    sides = iter(np.split(numbers, np.cumsum([len(side) for side in found])[:-1])) if found else iter(())
    return [(next(sides), next(sides)) if pair[0] is not None else None for _, pair, _ in named]


def is_pair(where: str | Path, names: Names, pair: tuple[Any, Any]) -> bool:
    """True if both sides are given, False if neither is. Raises UsageError for one alone."""
    missing = [name for name, array in zip(names, pair, strict=True) if array is None]
    if len(missing) == 1:
        raise UsageError(f"{where}: {missing[0]!r} is missing; {names[0]} and {names[1]} come together")
    return not missing


def check_numbers(where: str | Path, name: str, array: np.ndarray) -> np.ndarray:
    """An array (N,) or (N, 1) of numbers as float64 (N,). Raises UsageError."""
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{where}: {name}: dtype is {array.dtype}; it must be numbers, one an image")
    if array.shape not in ((array.size,), (array.size, 1)):
        raise UsageError(f"{where}: {name}: shape is {array.shape}; it must be (N,), one number an image")
    if array.size < 2:
        raise UsageError(f"{where}: {name}: has {array.size} scores; at least 2 are needed")
    return array.reshape(-1).astype(np.float64)

"""Groups of images (people, patients, scenes) as their owner names them, and as numbers.

Choices of ours: names that are all whole numbers of up to 18 digits stay the numbers that they are (007 is 7); where
one is anything else, all are numbered from 0 in the order of their names. Who is who must be the same on both sides of
an audit, so the sides are numbered together (leakbench.data.side_groups).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from leakbench.runtime.errors import UsageError, to_printable

_NUMBER = re.compile(r"[0-9]{1,18}")


class NumberedGroups(NamedTuple):
    """The group of each image, int64 (N,). names: what each number stands for, by the number; None where the numbers
    are the owner's own."""

    numbers: np.ndarray
    names: tuple[str, ...] | None = None


def number_names(names: Sequence[str]) -> NumberedGroups:
    """Number the groups of these names, one an image."""
    if all(_NUMBER.fullmatch(name) for name in names):
        return NumberedGroups(np.array([int(name) for name in names], dtype=np.int64))
    plain = [str(int(name)) if _NUMBER.fullmatch(name) else name for name in names]
    known = sorted(set(plain))
    number = {name: place for place, name in enumerate(known)}
    return NumberedGroups(np.array([number[name] for name in plain], dtype=np.int64), tuple(known))


def name_groups(groups: np.ndarray, names: tuple[str, ...] | None) -> list[str]:
    """The name of each of these groups: its number where it has no other."""
    return [str(number) if names is None else names[number] for number in groups.tolist()]


def check_names(where: str, files: Sequence[str], names: Sequence[str]) -> None:
    """Raise UsageError for an image whose group has an empty name."""
    for file, name in zip(files, names, strict=True):
        if not name:
            raise UsageError(
                f"{where}: {to_printable(file)}: group is empty: name the person or scene; one who is on no other "
                "image gets a name of their own"
            )

"""Guarantee of a history of noisy steps, of one image or of all images of a group, and what it says of the other.

A history's rates are those of the units that had coins. `group_size` is the largest number of images of one group (a
person, a patient) that were trained on, each with a coin and a clip of its own; None where images come in no groups, or
groups are drawn whole. A guarantee by image then says beside its epsilon that of a group (`epsilon_by_group`), and one
by group that of an image (`epsilon_by_image`), both at the same delta. Of groups that are drawn whole nothing is said
by image: an image more or less changes its group's gradient into any other, which is `epsilon_replace_one`.
"""

from __future__ import annotations

from typing import Any, Literal

from leakbench.api import Guarantee, Release

from ._accounting import group_epsilon, replace_one_epsilon, spent

Unit = Literal["image", "group"]
Steps = tuple[tuple[float, float, int], ...]


def steps_guarantee(history: Steps, delta: float, unit: Unit = "image", group_size: int | None = None) -> Guarantee:
    """Guarantee of a history that is not empty, by zero-out."""
    stated: dict[str, Any] = {"delta": delta, "adjacency": "zero-out", "unit": unit, "history": history}
    if unit == "group" and group_size is not None and group_size > 1:
        by_group = group_epsilon(history, delta, group_size)
        if by_group is None:
            return Guarantee(void=f"its epsilon by group, of {group_size} images, is in the hundreds")
        facts = {"epsilon_by_image": spent(history, delta).epsilon}
        return Guarantee(epsilon=by_group, accountant="pld", group_size=group_size, facts=facts, **stated)
    found, replaced = spent(history, delta), replace_one_epsilon(history, delta)
    facts = {} if replaced is None else {"epsilon_replace_one": replaced}
    facts |= {"epsilon_rdp": found.epsilon_rdp}
    if unit == "image" and group_size is not None:
        facts |= group_facts(history, delta, group_size)
    return Guarantee(epsilon=found.epsilon, accountant=found.accountant, group_size=group_size, facts=facts, **stated)


def group_facts(history: Steps, delta: float, group_size: int) -> dict[str, float]:
    """What a history says of a group; empty where that is an epsilon in the hundreds."""
    by_group = group_epsilon(history, delta, group_size)
    return {} if by_group is None else {"epsilon_by_group": by_group}


def joint_group_size(base: Release | None, own: int | None) -> int | None:
    """`group_size` of a training on a base: the larger one, None where it has none itself."""
    before = base.guarantee.group_size if base is not None else None
    return own if own is None or before is None else max(own, before)


def does_not_compose(base: Release | None, unit: Unit = "image", whole: bool = False) -> str:
    """Reason why a base's guarantee cannot be composed with one of a training's contributions; empty where it can.

    whole: the training draws groups whole.
    """
    if base is None:
        return ""
    stated = base.guarantee
    if stated.epsilon is None or stated.history is None:
        return stated.void or "its base read the images without differential privacy"
    if stated.adjacency not in (None, "zero-out") or stated.unit not in (None, unit):
        return f"its base states a guarantee by another adjacency or unit ({stated.adjacency}, {stated.unit})"
    if unit == "group" and stated.history and (stated.group_size is None) != whole:
        return "of it and its base, one draws groups whole and the other image by image"
    return ""

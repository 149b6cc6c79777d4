"""The rows, random streams and defenses of a target and of the auxiliary models that attacks ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from leakbench.api import AuxiliaryModel, find_reference
from leakbench.data import Split
from leakbench.measurement.group_numbers import number_in_order
from leakbench.suite.release_spec import ChainLink

if TYPE_CHECKING:
    from leakbench.runtime.device import Rng


def auxiliary_chain(auxiliary: AuxiliaryModel, chain: tuple[ChainLink, ...]) -> tuple[ChainLink, ...]:
    """The part of a target's chain that an auxiliary model repeats; of a reference, the base alone."""
    if auxiliary.kind == "reference":
        base = find_reference([link.defense for link in chain])
        assert base is not None, "an attack that needs a reference is skipped where there is none"
        return (replace(chain[0], defense=base),)
    if auxiliary.kind == "canary":
        return chain
    if auxiliary.kind == "retrained":
        return tuple(link for link in chain if not link.defense.forgets)
    return tuple(link for link in chain if link.defense.changes != "sampling")


def trained_as(auxiliary: AuxiliaryModel | None) -> AuxiliaryModel | None:
    """The model that an auxiliary one is trained as. A reference is the base of the target itself, with its images and
    random streams (None)."""
    return None if auxiliary is not None and auxiliary.kind == "reference" else auxiliary


def training_rows(
    split: Split, forgotten: np.ndarray | None, auxiliary: AuxiliaryModel | None, seed: int
) -> np.ndarray:
    """Rows that a release trains on: the target's (None), or those of an auxiliary model."""
    auxiliary = trained_as(auxiliary)
    if auxiliary is None:
        return split.train
    if auxiliary.kind == "retrained":
        assert forgotten is not None
        return np.setdiff1d(split.train, forgotten)
    pool = trainable_rows(split)
    if auxiliary.kind == "canary":
        whose = _units(split, pool)
        heads = np.random.default_rng([seed, auxiliary.draw, 0xC0145]).random(int(whose.max()) + 1) < 0.5
        return pool[heads[whose] | ~np.isin(pool, canary_rows(split, auxiliary, seed))]
    order = np.random.default_rng([seed, auxiliary.draw, 0x5AD0]).permutation(pool)
    return np.sort(order[: round(auxiliary.share * len(pool))])


def canary_rows(split: Split, auxiliary: AuxiliaryModel, seed: int) -> np.ndarray:
    """Rows that have a coin in a canary model's training, ascending: all that may be trained on, or half of them; where
    images come in groups, those of half of the groups."""
    pool = trainable_rows(split)
    if auxiliary.canaries == "ordinary":
        return pool
    whose = _units(split, pool)
    order = np.random.default_rng([seed, auxiliary.draw, 0xCA2A2]).permutation(int(whose.max()) + 1)
    return pool[np.isin(whose, order[: len(order) // 2])]


def _units(split: Split, rows: np.ndarray) -> np.ndarray:
    """The number, from 0, of what has a coin of its own: each row, or its group."""
    return np.arange(len(rows)) if split.group is None else number_in_order(split.group[rows])


def trainable_rows(split: Split) -> np.ndarray:
    """Rows of every part but `reference`."""
    return np.sort(np.concatenate([rows for part, rows in split.parts.items() if part != "reference"]))


def release_rng(dataset: str, seed: int, auxiliary: AuxiliaryModel | None = None) -> Rng:
    """Random streams of (dataset, seed). Shadow models and canaries have their own: they differ in all noise."""
    from leakbench.runtime.device import Rng  # here, for it imports torch

    auxiliary = trained_as(auxiliary)
    if auxiliary is None or auxiliary.kind == "retrained":
        return Rng(dataset, seed)
    kind = f"{auxiliary.draw}/{auxiliary.share}" if auxiliary.kind == "shadow" else f"canary/{auxiliary.draw}"
    kind += "" if auxiliary.canaries == "ordinary" else f"/{auxiliary.canaries}"
    return Rng(f"{dataset}/{kind}", seed)

"""A model-free membership reader for few images, tested on each pair of a member and a nonmember that it has not seen.

Where no images can be spared to learn from, the blind baseline learns from the reported ones, but for one member and
one nonmember at a time, and is asked which of the two is the member: the AUC is the share of pairs that it gets right,
and 1/2 on average where the sides do not differ (leaving single images out puts it below: Airola et al., Computational
Statistics & Data Analysis 55, 2011). It is judged against the same with the two sides permuted.

Choices of ours: ridge regression of membership on standardised columns, whose fits without a pair follow from one fit
in closed form; its weight is 100, as stiff as the logistic regression of `classifiers.blind_reader`; 999 permutations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_WEIGHT = 100.0
_PERMUTATIONS = 999


@dataclass(frozen=True)
class PairScores:
    """Scores of members (m,) and nonmembers (n,), float64, whose AUC is the share of pairs told right: of a member the
    share of nonmembers that it beats, of nonmembers their places by the members that they beat. permuted (999,): AUCs
    with the sides permuted."""

    member: np.ndarray
    nonmember: np.ndarray
    permuted: np.ndarray


def leave_pairs_out(table: np.ndarray, members: int, groups: np.ndarray | None = None) -> PairScores:
    """Tell the first `members` rows of a table (N, D) from the others. Deterministic. groups (N,): whose each row is;
    these are permuted then, a group on both sides as two.

    Raises ValueError unless there are two of each side.
    """
    count = len(table)
    if not 2 <= members <= count - 2:
        raise ValueError(f"{members} members of {count} images: to leave a pair out takes two of each side")
    hat = _hat(table)
    right = _told_right(hat, np.arange(members))
    places = np.argsort(np.argsort(-right.mean(axis=0), kind="stable"), kind="stable")
    rng = np.random.default_rng(0)
    sides = np.arange(count) >= members
    _, unit = np.unique(np.stack([sides, np.arange(count) if groups is None else groups]), axis=1, return_inverse=True)
    unit = unit.reshape(-1)
    of_members = int(unit[:members].max()) + 1
    choices = (rng.permutation(int(unit.max()) + 1)[:of_members] for _ in range(_PERMUTATIONS))
    permuted = [_told_right(hat, np.flatnonzero(np.isin(unit, chosen))).mean() for chosen in choices]
    # Between neighbouring places lies one more nonmember: the AUC of these scores is the mean of the members'.
    return PairScores(right.mean(axis=1), (places + 0.5) / (count - members), np.array(permuted))


def _hat(table: np.ndarray) -> np.ndarray:
    """The matrix (N, N) that takes labels to a ridge regression's answers, with an intercept."""
    columns = np.asarray(table, dtype=np.float64)
    spread = columns.std(axis=0)
    rows = (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    kernel = rows @ rows.T
    return np.asarray(kernel @ np.linalg.inv(kernel + _WEIGHT * np.eye(len(rows))) + 1 / len(rows))


def _told_right(hat: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """For each pair (m, n) of one chosen row and one of the others whether a fit without both tells them apart, 1/2 for
    a tie."""
    label = np.zeros(len(hat))
    label[chosen] = 1.0
    others = np.flatnonzero(label == 0)
    left, own, both = label - hat @ label, 1 - np.diag(hat), hat[np.ix_(chosen, others)]
    ours, theirs = left[chosen][:, None], left[others][None, :]
    wide, high = own[chosen][:, None], own[others][None, :]
    apart = 1.0 - ((high * ours + both * theirs) - (wide * theirs + both * ours)) / (wide * high - both**2)
    return np.where(np.abs(apart) < 1e-9, 0.5, apart > 0)

"""Private votes: each image gives one to what it lies nearest to, and the counts are released with Gaussian noise.

One image left out changes the counts by 1 in the 2-norm, and one exchanged for another by sqrt(2), which is what the
account takes them for. All images vote at every release, so that there is no sampling, and the account is exact.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from leakbench.api import Guarantee, Release, void_guarantee
from leakbench.data.neighbours import nearest

from ._accounting import rdp_epsilon, replace_one_epsilon, spent
from ._gaussian import gaussian_epsilon, gaussian_mu
from ._guarantee import does_not_compose, group_facts, joint_group_size


def count_votes(private: Tensor, candidates: Tensor) -> Tensor:
    """How many of the private features (n, D) lie nearest to each of the candidates (P, D): float32 (P,)."""
    if not len(private):
        return torch.zeros(len(candidates), device=candidates.device)
    winner = nearest(private, candidates).index[:, 0]
    return torch.bincount(winner, minlength=len(candidates)).float()


def noise_of_counts(epsilon: float | str | None, multiplier: float | None, releases: int, delta: float) -> float:
    """Standard deviation of a count's noise, of so many histograms; 0 where epsilon is "inf"."""
    if multiplier is not None:
        return multiplier
    return math.sqrt(releases) / gaussian_mu(epsilon, delta) if isinstance(epsilon, float) else 0.0


def histogram_guarantee(
    name: str, base: Release | None, sigma: float, releases: int, delta: float, group_size: int | None = None
) -> Guarantee:
    """Guarantee of so many histograms, together with what the base has spent; `name` is the defense's.

    group_size: the largest number of votes of one group, where images come in groups: what that states is said beside.
    """
    if not sigma:
        return Guarantee() if base is None else void_guarantee(base, f"{name} with epsilon = inf adds no noise")
    if why := does_not_compose(base):
        return Guarantee(void=why)
    before = (base.guarantee.history if base else None) or ()
    history = (*before, (sigma, 1.0, releases))
    found = spent(history, delta) if before else None
    if found:
        # That accountant takes an exchange for a change by 2, which sqrt(2) is with so much more noise.
        replaced = replace_one_epsilon((*before, (math.sqrt(2) * sigma, 1.0, releases)), delta)
    else:
        replaced = gaussian_epsilon(math.sqrt(2 * releases) / sigma, delta)
    group_size = joint_group_size(base, group_size)
    by_group = {} if group_size is None else group_facts(history, delta, group_size)
    return Guarantee(
        epsilon=found.epsilon if found else gaussian_epsilon(math.sqrt(releases) / sigma, delta),
        delta=delta,
        accountant=found.accountant if found else "gaussian",
        adjacency="zero-out",
        unit="image",
        history=history,
        group_size=group_size,
        facts=by_group
        | ({} if replaced is None else {"epsilon_replace_one": replaced})
        | {
            "epsilon_rdp": rdp_epsilon(history, delta),
            "sampling_rate": 1.0,
            "steps": releases,
            "noise_multiplier": sigma,
        },
    )

"""The exact tests of a release of which few images are known: they judge in the place of intervals.

All attacks on the same images are one family (`ExactFamily`). An attack that learnt from the other images, as the blind
baseline does there, is judged against its own AUCs with the two sides permuted, and corrected by Bonferroni. Choice of
ours: where attacks of one release scored different images, p values are multiplied by the number of such sets.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from leakbench.results.flags import Flag
from leakbench.results.record import Record
from leakbench.statistics import ExactFamily, ExactTest, auc, exact_detectable_auc, permutation_p_value

if TYPE_CHECKING:
    from leakbench.statistics import Groups

Key = TypeVar("Key", bound=Hashable)
PERMUTED = "permuted_aucs"  # the array of AUCs with the sides permuted


@dataclass(frozen=True)
class FewScores:
    """Scores of few images by one attack: of members and nonmembers, their groups if any, the AUCs with the sides
    permuted where the attack learnt from the others, and whose images they are of."""

    scores: tuple[np.ndarray, np.ndarray]
    groups: Groups | None
    permuted: np.ndarray | None
    images: Hashable


def is_few(record: Record) -> bool:
    """Tell whether a record is of too few images to spare any for calibration."""
    return Flag.FEW_IMAGES in record.flags


def find_exact_tests(found: Mapping[Key, FewScores], together: float) -> dict[Key, ExactTest]:
    """The exact test of each attack of a release. `together`: the probability, in (0, 1), that none errs."""
    tests = {key: _against_permuted(one, len(found), together) for key, one in found.items()}
    known = {key: test for key, test in tests.items() if test is not None}
    sets: dict[Hashable, dict[Key, FewScores]] = {}
    for key, one in found.items():
        if key not in known:
            sets.setdefault(one.images, {})[key] = one
    for some in sets.values():
        groups = next(iter(some.values())).groups
        family = ExactFamily([one.scores for one in some.values()], groups)
        counts = family.members, family.nonmembers
        detectable = exact_detectable_auc(*counts, family.critical((1 - together) / len(sets)))
        for key, one in some.items():
            p_value = min(1.0, len(sets) * family.correct(auc(*one.scores).value))
            known[key] = ExactTest(p_value, *counts, detectable, groups is not None)
    return known


def _against_permuted(one: FewScores, count: int, together: float) -> ExactTest | None:
    if one.permuted is None:
        return None
    sizes = one.scores[0].size, one.scores[1].size
    critical = float(np.quantile(np.abs(one.permuted - 0.5), 1 - (1 - together) / count))
    p_value = min(1.0, count * permutation_p_value(auc(*one.scores).value, one.permuted))
    return ExactTest(p_value, *sizes, exact_detectable_auc(*sizes, critical))

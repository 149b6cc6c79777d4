"""A family of attacks on one release: its correction, how often it cries wolf, and what it finds.

Run as a program, it prints the table of docs/statistics.md:
    OMP_NUM_THREADS=1 python tests/leakbench/statistics/test_family.py
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from leakbench.statistics import Family, auc, holm, tpr_at_fpr
from leakbench.statistics.auc import influence
from leakbench.statistics.groups import Sides
from leakbench.statistics.paired_rates import tpr_influence

TARGET = 0.1


def leaking(n, areas, correlation, repetitions, calibration=60, seed=0):
    """How often a release is said to leak: by the family, and by the attack that calibration images pick alone."""
    rng, shift = np.random.default_rng(seed), norm.ppf(areas)[:, None] * np.sqrt(2)
    sides = Sides(np.arange(n), np.arange(n, 2 * n), 2 * n)

    def draw(images):
        shared = rng.normal(size=images) * np.sqrt(correlation)
        return shared + rng.normal(size=(len(areas), images)) * np.sqrt(1 - correlation)

    together, alone = 0, 0
    for _ in range(repetitions):
        scores = list(zip(draw(n) + shift, draw(n), strict=True))
        shares = [share for one in scores for share in (influence(*one, sides), tpr_influence(*one, TARGET))]
        family = Family(shares, [False, True] * len(areas))
        together += any(seen(*one, family.level) for one in scores)
        held_out = [auc(*one).value for one in zip(draw(calibration) + shift, draw(calibration), strict=True)]
        alone += seen(*scores[int(np.argmax(np.abs(np.array(held_out) - 0.5)))], 0.95)
    return together / repetitions, alone / repetitions


def seen(member, nonmember, level):
    """True if the interval of the AUC or that of the TPR excludes chance."""
    found = auc(member, nonmember, level)
    return found.low > 0.5 or found.high < 0.5 or tpr_at_fpr(member, nonmember, TARGET, level).estimate.low > TARGET


@pytest.mark.parametrize(("attacks", "repetitions"), [(3, 150), (13, 60), (40, 25)])
@pytest.mark.parametrize("correlation", [0.3, 0.9])
def test_of_releases_that_leak_nothing_five_in_a_hundred_are_called_leaking(attacks, repetitions, correlation):
    together, _ = leaking(100, np.full(attacks, 0.5), correlation, repetitions)
    assert together <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / repetitions)


def test_one_strong_attack_among_weak_ones_is_found_where_a_pick_on_calibration_images_misses_it():
    together, alone = leaking(300, np.array([0.6, *[0.5] * 12]), 0.5, 40)
    assert together >= 0.8 and together >= alone + 0.1


def test_all_attacks_alike_are_corrected_as_one():
    share = np.random.default_rng(0).normal(size=50)
    assert Family([share]).level == pytest.approx(0.95)
    assert Family([share, 2 * share, -share]).level == pytest.approx(0.95, abs=0.003)
    assert Family([share], [True]).level == pytest.approx(0.9)  # all of the error on one side


def test_independent_attacks_are_corrected_as_sidak_does():
    assert Family(np.eye(20)).level == pytest.approx(0.95 ** (1 / 20), abs=4e-4)
    between = Family(np.eye(20) + 0.5).level
    assert 0.95 < between < Family(np.eye(20)).level


def test_what_holms_first_step_rejects_is_rejected_and_corrected_p_values_keep_their_order():
    family = Family(np.eye(10) + 0.3)
    raw = [1e-12, 1e-4, 0.003, 0.02, 0.5, 1.0]
    corrected = [family.correct(p) for p in raw]
    assert corrected == sorted(corrected) and corrected[0] == pytest.approx(1e-11)
    assert all(p <= c <= min(1, 10 * p) for p, c in zip(raw, corrected, strict=True))
    assert corrected[1] <= holm([1e-4] + [1.0] * 9)[0]


@pytest.mark.parametrize(("shares", "one_sided"), [([], ()), ([[1.0, 2.0]], (True, False))])
def test_a_family_has_members_of_known_sides(shares, one_sided):
    with pytest.raises(ValueError, match="one side or two"):
        Family(shares, one_sided)


if __name__ == "__main__":
    print(
        "| attacks | releases | said to leak, family | one picked | AUC of 0.6 seen, family | one picked |\n"
        + "|---:" * 6
        + "|"
    )
    for count, runs in ((3, 1000), (13, 400), (40, 100)):
        size = leaking(300, np.full(count, 0.5), 0.5, runs)
        power = leaking(300, np.array([0.6, *[0.5] * (count - 1)]), 0.5, runs // 4)
        print("|", " | ".join([str(count), str(runs), *(f"{share:.3f}" for share in (*size, *power))]), "|")

"""What defenses moved: how often a table says so where nothing moved, and what it sees where something did."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from leakbench.reports.reading.changes import DISTANCE, SAME, find_move
from leakbench.results.record import Metric, Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import RunPlan

DEFENSES, ATTACKS, COPIES = ("one", "two", "three"), ("loss", "pia", "secmi"), "nearest_copy_pixels"
NAMES = ("member_scores", "nonmember_scores", "calibration_member_scores", "calibration_nonmember_scores")


class Simulated(RunFolder):
    """A run in memory: a baseline and three defenses, AUCs, copies, and a distance that is a mean of its samples."""

    def __init__(self, aucs, copies, distances, images, seed):
        super().__init__(Path(f"simulated-{seed}"))
        self.made, rng = {}, np.random.default_rng(seed)
        hard = {name: rng.normal(size=images if "cal" not in name else 60) for name in NAMES}
        luck, null = rng.normal(size=(2, 600)), rng.normal(size=200)
        for number, point in enumerate(("baseline", *DEFENSES)):
            shift = norm.ppf(aucs[number]) * np.sqrt(2)
            for attack in ATTACKS:
                scores = {
                    n: h * 0.7 + 0.7 * rng.normal(size=h.size) + shift * (i % 2 == 0)
                    for i, (n, h) in enumerate(hard.items())
                }
                inside, outside = scores[NAMES[2]], scores[NAMES[3]]
                own = [number_of("auc", 0.5), number_of("calibration_auc", (inside[:, None] > outside).mean())]
                self.keep(point, attack, "membership", "DENOISER", own, scores)
            similar = 0.9 * luck[0] + 0.43 * rng.normal(size=600)
            threshold = {"similarity": similar < norm.ppf(copies[number]), "null_similarity": null}
            excess = number_of("copy_rate_excess", threshold["similarity"].mean() - 0.01)
            self.keep(point, COPIES, "replication", "SAMPLES", [excess], threshold, {"threshold": 0.5})
            far = distances[number] + 0.9 * luck[1] + 0.43 * rng.normal(size=600)
            value = number_of("frechet_heldout", far.mean())
            self.keep(
                point,
                "quality",
                "quality",
                "SAMPLES",
                [value],
                {"share_of_frechet_heldout_0": (far - far.mean()) / 600},
            )

    def keep(self, point, attack, family, access, metrics, arrays, info=None):
        names = {"suite": "s", "dataset": "d", "model": "m", "defense": point, "point": point, "defense_params": {}}
        who = {"attack": attack, "family": family, "access": access, "seed": 0, "arrays": f"{point} {attack}"}
        self.made[f"{point} {attack}"] = Record(**names, **who, metrics=metrics, info=info or {}), arrays

    @cached_property
    def records(self):
        return [record for record, _ in self.made.values()]

    @cached_property
    def plan(self):
        points = [{"point": p, "defense": p, "role": "defense"} for p in DEFENSES]
        points = [{"point": "baseline", "defense": "baseline", "role": "baseline"}, *points]
        return RunPlan(suite="s", headline="tpr@fpr=0.1", seeds=[0], command=[], points=points, split={})

    def arrays(self, record, only=()):
        return self.made[record.arrays][1]


def number_of(name, value):
    return Metric(name=name, value=float(value), ci_low=float(value) - 0.1, ci_high=float(value) + 0.1, n=200)


def move(run, name, quantity):
    (point,) = [point for point in run.plan.points if point.name == name]
    return find_move(run, point, quantity)


def kinds(run):
    quantities = (DISTANCE, COPIES, "DENOISER")
    return {(point, what): move(run, point, what).kind for point in DEFENSES for what in quantities}


@pytest.mark.parametrize("area", [0.5, 0.8])
def test_where_nothing_moved_five_tables_in_a_hundred_say_that_anything_did(area):
    tables = [kinds(Simulated([area] * 4, [0.05] * 4, [1.0] * 4, 100, seed)) for seed in range(60)]
    assert sum(any(table.values()) for table in tables) <= 7  # of 3 expected at the most, in 1 of 30


def test_what_moved_is_seen_at_one_defense_and_said_of_no_other():
    """An AUC from 0.8 to 0.7 from 300 images, copies from 6 to 2 %, a distance of a fifth of its spread."""
    runs = [
        Simulated([0.8, 0.7, 0.8, 0.8], [0.06, 0.02, 0.06, 0.06], [1.0, 1.2, 1.0, 1.0], 300, seed) for seed in range(20)
    ]
    tables = [kinds(run) for run in runs]
    for what, kind in (("DENOISER", "fell"), (COPIES, "fell"), (DISTANCE, "rose")):
        assert sum(table["one", what] == kind for table in tables) >= 17, what
    assert sum(bool(kind) for table in tables for (point, _), kind in table.items() if point != "one") <= 3


def test_a_fall_is_not_said_where_another_attack_finds_as_much():
    """Two of three attacks no longer work; the third does as before."""
    run = Simulated([0.85, 0.5, 0.85, 0.85], [0.05] * 4, [1.0] * 4, 300, 3)
    assert move(run, "one", "DENOISER").kind == "fell"
    again = Simulated([0.85, 0.5, 0.85, 0.85], [0.05] * 4, [1.0] * 4, 300, 3)
    again.made["one loss"] = again.made["one loss"][0], again.made["baseline pia"][1]
    assert move(again, "one", "DENOISER").kind == ""


def test_one_computation_on_both_sides_is_not_tested():
    run = Simulated([0.8] * 4, [0.05] * 4, [1.0] * 4, 100, 0)
    for attack in ATTACKS:
        base = run.made[f"baseline {attack}"][0]
        run.made[f"one {attack}"] = base.model_copy(update={"point": "one", "defense": "one"}), None
    assert move(run, "one", "DENOISER").direction == SAME
    assert move(run, "two", "DENOISER").direction != SAME

"""`leakbench diff` on simulated runs like those of `quick`: how often it says that something moved.

    python tests/reports/claims/test_diff_power.py

prints the tables of docs/diff.md. A run has a baseline and four settings of CPSample, three attacks, copies and a
distance, two seeds. The score of an image is the attack's signal, plus what makes an image hard (the same in all runs),
plus noise by seed (the same in runs that share it), plus noise of its own; variances .5, .2 and .3, so that the scores
of runs that share seeds are correlated by .7. From training to training the signal varies by a standard deviation.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import stats

from leakbench.reports.claims.diff_rows import list_rows
from leakbench.results.record import Metric, Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import RunPlan
from leakbench.statistics import auc, clopper_pearson, difference, tpr_at_fpr

POINTS = ("baseline", *(f"cpsample scale={scale}" for scale in (1, 3, 10, 30)))
ATTACKS = ("loss", "secmi", "pia")
LEFT = (1.0, 0.7, 0.4, 0.3, 0.2)  # of the signal, by point
SIGNAL = {"loss": 1.5, "secmi": 1.2, "pia": 1.7}
N, SAMPLES = 300, 500


class SimulatedRun(RunFolder):
    """A run that lies in memory: its plan, its records and their arrays."""

    def __init__(self, plan, contents):
        super().__init__(Path("simulated"))
        self.plan, self.records = plan, [record for record, _ in contents]
        self._arrays = {id(record): arrays for record, arrays in contents}

    def arrays(self, record, only=()):
        return self._arrays[id(record)]


@lru_cache(maxsize=128)  # several tests compare with the same runs
def simulate(world, run, seeds, spread, change=0.0, moved=None, rows_from=0):
    """A run. `world`: number of the images and what makes them hard; `run`: of its own noise. `moved`: the (point,
    attack) whose AUC is changed by `change`."""
    contents = []
    hard = np.random.default_rng([world, 0]).normal(0, 0.5**0.5, (2, N))
    for seed in seeds:
        shared = np.random.default_rng([world, 1, seed])
        own = np.random.default_rng([world, 2, run, seed])
        trained = shared.normal(0, spread, (len(ATTACKS), 2))  # of the baseline, and of CPSample's classifier
        for place, point in enumerate(POINTS):
            for number, attack in enumerate(ATTACKS):
                signal = SIGNAL[attack] * LEFT[place] + trained[number, int(place > 0)]
                if (point, attack) == moved:
                    signal = np.sqrt(2) * stats.norm.ppf(min(0.999, stats.norm.cdf(signal / np.sqrt(2)) + change))
                noise = hard + np.random.default_rng([world, 3, seed, number]).normal(0, 0.2**0.5, (2, N))
                member, nonmember = noise + own.normal(0, 0.3**0.5, (2, N)) + np.array([[signal], [0.0]])
                contents.append(membership(point, attack, seed, member, nonmember, rows_from))
            contents.append(copies(point, seed, shared, own))
            contents.append(distance(point, seed, shared, own, spread))
    points = [
        {"point": p, "defense": p.split()[0], "role": "baseline" if p == "baseline" else "defense"} for p in POINTS
    ]
    return SimulatedRun(RunPlan(suite="quick", dataset="digits", seeds=list(seeds), points=points), contents)


def record(point, attack, family, seed, metrics, **more):
    who = {"suite": "quick", "dataset": "digits", "model": "mlp", "defense": point.split()[0], "point": point}
    access = "DENOISER" if family == "membership" else "SAMPLES"
    told = [Metric(name=name, value=f.value, ci_low=f.low, ci_high=f.high, n=f.n) for name, f in metrics.items()]
    return Record(
        **who, attack=attack, family=family, seed=seed, metrics=told, access=access, defense_params={}, **more
    )


def membership(point, attack, seed, member, nonmember, rows_from):
    metrics = {"auc": auc(member, nonmember), "tpr@fpr=0.1": tpr_at_fpr(member, nonmember, 0.1).estimate}
    rows = {f"{side}_rows": rows_from + np.arange(N) for side in ("member", "nonmember")}
    arrays = {"member_scores": member, "nonmember_scores": nonmember, **rows}
    return record(point, attack, "membership", seed, metrics, arrays=f"{id(member)}"), arrays


def copies(point, seed, shared, own):
    found = np.where(own.random(SAMPLES) < 0.3, own.random(SAMPLES), shared.random(SAMPLES)) < 0.1
    null = np.linspace(0, 1, 300)
    arrays = {"similarity": found.astype(float), "null_similarity": null, "threshold_similarity": null}
    metrics = {"copy_rate_excess": difference(int(found.sum()), SAMPLES, 3, 300)}
    metrics["copy_rate"] = clopper_pearson(int(found.sum()), SAMPLES)
    return record(
        point, "nearest_copy", "replication", seed, metrics, info={"threshold": 0.5}, arrays=f"{id(found)}"
    ), arrays


def distance(point, seed, shared, own, spread):
    value = 4.0 + 2 * spread * shared.normal() + 0.4 * own.normal()
    told = {"frechet_heldout": (value, value - 0.8, value + 0.8)}
    metrics = [Metric(name=name, value=v, ci_low=low, ci_high=high, n=500) for name, (v, low, high) in told.items()]
    one = record(point, "quality", "quality", seed, {}, arrays=f"{point} {value}")
    return one.model_copy(update={"metrics": metrics}), {}


def outcomes(old, new):
    return {(row.point, row.attack, row.metric): row for row in list_rows(old, new)}


def pairs(count, spread, seeds=((0, 1), (2, 3)), same_images=True, **more):
    """Simulated pairs of runs, compared."""
    for world in range(count):
        old = simulate(world, 0, seeds[0], spread)
        new = simulate(
            world if same_images else count + world, 1, seeds[1], spread, rows_from=0 if same_images else N, **more
        )
        yield outcomes(old, new)


def share_moved(found, row=None):
    """The share of pairs in which something moved, or one row did."""
    moved = [{key for key, one in rows.items() if one.outcome in ("worse", "better")} for rows in found]
    return float(np.mean([bool(keys) if row is None else row in keys for keys in moved]))


SEEN = ("cpsample scale=3", "pia", "auc")
REAL = {"change": 0.1, "moved": SEEN[:2]}


def test_of_runs_with_other_seeds_nothing_moved_in_19_of_20():
    found = list(pairs(20, 0.3))
    assert share_moved(found) <= 1 / 20
    assert all(not row.paired and row.outcome != "not compared" for rows in found for row in rows.values())
    assert len(found[0]) == 5 * (3 * 2 + 1 + 1)


def test_of_runs_that_share_seeds_nothing_moved_in_19_of_20():
    found = list(pairs(20, 0.3, ((0, 1), (0, 1))))
    assert share_moved(found) <= 1 / 20
    assert all(row.paired for row in found[0].values() if row.attack != "quality")


def test_a_change_of_a_tenth_in_auc_is_seen_where_seeds_and_images_are_shared():
    found = list(pairs(20, 0.3, ((0, 1), (0, 1)), **REAL))
    assert share_moved(found, SEEN) >= 0.9
    assert all(rows[SEEN].outcome == "worse" for rows in found if rows[SEEN].p_value < 0.05)


def main(count=60):
    """Print the table of docs/diff.md."""
    for title, apart, same in (("shared", False, True), ("other seeds", True, True), ("other images", True, False)):
        for k in (2, 5):
            seeds = tuple(range(k)), tuple(range(k, 2 * k) if apart else range(k))
            for spread in (0.02, 0.3):
                found = [share_moved(list(pairs(count, spread, seeds, same)))]
                for change in (0.1, 0.2):
                    some = pairs(count, spread, seeds, same, change=change, moved=SEEN[:2])
                    found.append(share_moved(list(some), SEEN))
                words = ", ".join(f"{share:.2f}" for share in found)
                print(f"{title}, {k} seeds, spread {spread:g}: nothing, 0.1, 0.2: {words}", flush=True)


if __name__ == "__main__":
    main()

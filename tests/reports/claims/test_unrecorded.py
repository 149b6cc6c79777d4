"""Claims on what failed and left no record, and on points whose rows mean nothing, are undecided."""

from __future__ import annotations

import json

import pytest

from leakbench.reports.claims.claim import Claim
from leakbench.reports.claims.judge import judge_claim
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder

ATTACKS = ("blind", "loss", "secmi", "pia", "nearest_copy_pixels", "nearest_copy_features")


def plan_says(path, attacks=ATTACKS, **more):
    plan = json.loads((path / "plan.json").read_text())
    (path / "plan.json").write_text(json.dumps(plan | {"attacks": dict.fromkeys(attacks, "")} | more))
    return RunFolder(path)


def judge(run, **more):
    (found,) = judge_claim(run, Claim(**{"name": "a", "defense": "baseline", "attack": "strongest", **more}))
    return found


@pytest.fixture
def without_secmi(make_run, tmp_path):
    def keep(record):
        return (record.point, record.attack) != ("baseline", "secmi") and record.defense in ("baseline", "untrained")

    make_run(tmp_path, seeds=(0,), images=False, keep=keep)
    return plan_says(tmp_path)


@pytest.mark.parametrize("attack", ["strongest", "membership", "secmi"])
@pytest.mark.parametrize("bound", [{"at_most": 1.0}, {"at_least": 0.5}])
def test_an_attack_that_left_no_record_leaves_it_undecided_and_is_named(without_secmi, attack, bound):
    found = judge(without_secmi, attack=attack, **bound)
    assert found.outcome == "undecided" and "secmi left no record at baseline" in found.reason


def test_what_the_claim_is_not_about_may_lack(without_secmi):
    assert judge(without_secmi, attack="pia", at_most=1.0).outcome == "holds"
    copies = {"attack": "replication", "metric": "copy_rate", "at_most": 0.5}
    assert judge(without_secmi, **copies).outcome == "holds"
    assert judge(without_secmi, attack="strongest", access="SAMPLES", at_most=1.0).reason == (
        "no such attack was run at this point"
    )


def test_an_attack_without_any_record_counts_for_each_family(make_run, tmp_path):
    make_run(tmp_path, seeds=(0,), images=False, keep=lambda record: record.defense == "baseline")
    run = plan_says(tmp_path, (*ATTACKS, "mine"))
    for attack in ("strongest", "replication", "mine"):
        metric = {"metric": "copy_rate"} if attack == "replication" else {}
        found = judge(run, attack=attack, at_most=1.0, **metric)
        assert found.outcome == "undecided" and "mine left no record" in found.reason


def test_an_attack_on_other_defenses_alone_is_not_missed(make_run, tmp_path):
    make_run(tmp_path, seeds=(0,), images=False, keep=lambda record: record.defense == "baseline")
    entries = [{"name": "mine", "on": ["cpsample"]}]
    run = plan_says(tmp_path, (*ATTACKS, "mine"), settings={"attack": entries})
    assert judge(run, at_most=1.0).outcome == "holds"
    assert judge(run, attack="mine", at_most=1.0).reason == "no such attack was run at this point"


def test_a_row_that_means_nothing_is_undecided(make_run, tmp_path):
    """reject_resample answers and draws as its base does; and it is no nearer to real images than noise."""
    points = [
        {"point": n, "defense": n, "role": r, "chain": [n], "bases": b, "truth": (signal, 0.1, 4.0)}
        for n, r, b, signal in (
            ("baseline", "baseline", [], 1.0),
            ("reject_resample", "defense", ["baseline"], 1.0),
            ("untrained", "control", [], 0.0),
        )
    ]
    run = make_run(tmp_path, seeds=(0,), images=False, points=points)
    bounds = ({"at_most": 1.0}, {"at_least": 0.5}, {"attack": "quality", "metric": "frechet_heldout", "at_most": 900.0})
    for bound in bounds:
        found = judge(run, defense="reject_resample", **bound)
        assert found.outcome == "undecided" and "an untrained network's" in found.reason
    for record in run.records:  # the base's arrays and answers, bit for bit
        if record.point == "baseline":
            twin = record.model_copy(update={"point": "reject_resample", "defense": "reject_resample"})
            save_record(tmp_path, twin, run.arrays(record))
    for bound in bounds:
        found = judge(RunFolder(tmp_path), defense="reject_resample", **bound)
        assert found.outcome == "undecided" and "bit for bit" in found.reason
        (pair,) = judge_claim(
            RunFolder(tmp_path), Claim(name="a", defense="baseline", attack="pia", against="reject_resample", at_most=1)
        )
        assert pair.outcome == "undecided" and "means nothing here" in pair.reason

"""Claims on what releases state: by image or by person, and never the one by the other."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from leakbench.reports.claims.claim import Claim, read_claims
from leakbench.reports.claims.judge import judge_claim
from leakbench.reports.claims.support import format_claims, list_supported
from leakbench.reports.claims.words import explain, format_judgement, format_junit, format_markdown
from leakbench.results.record import Metric
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder

BY_IMAGE = {
    "epsilon": 2.614,
    "delta": 0.001,
    "adjacency": "zero-out",
    "unit": "image",
    "epsilon_by_group": 21.739,
    "group_size": 5,
}
BY_PERSON = {"epsilon": 3.0, "delta": 0.01, "adjacency": "zero-out", "unit": "group"}
AUC = {"loss": {"auc": (0.6, 0.5, 0.7), "calibration_auc": 0.6, "oriented_auc": (0.6, 0.5, 0.7)}}


def point(name, stated):
    told = {"point": name, "defense": name, "role": "defense", "chain": [name], "guarantee": stated}
    return told | {"quality": {"frechet_heldout": (4.0, 3.0, 5.0)}, "attacks": AUC}


@pytest.fixture
def run(tmp_path, tell_run):
    stated = {"image": BY_IMAGE, "person": BY_PERSON, "lost": {"void": "it was sold"}, "none": {}}
    return tell_run(tmp_path, [point(*one) for one in stated.items()])


def judged(run, defense, unit, **bound):
    metric = f"epsilon_by_{unit}"
    (found,) = judge_claim(run, Claim(name="it", defense=defense, attack="guarantee", metric=metric, **bound))
    return found


def test_an_epsilon_is_judged_by_its_own_unit(run):
    assert judged(run, "image", "image", at_most=3.0).outcome == "holds"
    broken = judged(run, "image", "group", at_most=3.0)
    assert (broken.outcome, broken.found.value) == ("broken", 21.739)
    assert explain(broken) == (
        "epsilon_by_group of the guarantee, at most 3: 21.7 is stated at delta 0.001, zero-out, "
        "2.61 by image is 21.7 for 5 images of a person; no run can prove it"
    )
    assert judged(run, "person", "group", within=(2.0, 3.0)).outcome == "holds"
    assert judged(run, "person", "group", at_least=4.0).outcome == "broken"
    for found in (broken, judged(run, "person", "image", at_most=9.0)):
        assert format_judgement(found) and format_markdown([found]) and format_junit([found], strict=False)


def test_without_an_epsilon_of_that_unit_nothing_is_said(run):
    reasons = {name: judged(run, name, "image", at_most=9.0) for name in ("person", "lost", "none")}
    assert {one.outcome for one in reasons.values()} == {"undecided"}
    assert [one.reason for one in reasons.values()] == [
        "person states no epsilon by image",
        "lost states none any longer: it was sold",
        "none states no guarantee",
    ]


def test_what_an_audit_refuted_bears_no_claim(run):
    known = next(record for record in run.records if record.point == "person")
    told = {"attack": "canary_one_run", "family": "auditing", "flags": ["epsilon-above-guarantee"], "arrays": ""}
    bound = {"metrics": [Metric(name="epsilon_lower", value=5.0, n=100)], "info": {"unit": "group"}}
    save_record(run.path, known.model_copy(update=told | bound), {})
    plan = run.plan.model_copy(update={"attacks": {**run.plan.attacks, "canary_one_run": "an audit"}})
    (run.path / "plan.json").write_text(plan.model_dump_json())
    run = RunFolder(run.path)
    found = judged(run, "person", "group", at_most=9.0)
    assert found.outcome == "undecided"
    assert found.reason == "epsilon-above-guarantee: canary_one_run shows more than person states: at least 5"
    broken = judged(run, "person", "group", at_most=4.0)
    assert broken.outcome == "broken" and broken.reason == found.reason
    assert 'failures="1"' in format_junit([broken], strict=False) and format_markdown([broken])
    of_image = judged(run, "person", "image", at_most=4.0)  # a bound by person says nothing of one image
    assert of_image.outcome == "undecided" and of_image.reason.endswith("more than person states")
    claim = Claim(name="it", defense="person", attack="canary_one_run", metric="epsilon_lower", at_most=9.0)
    (bound,) = judge_claim(run, claim)
    assert bound.outcome == "undecided"
    assert bound.reason == 'epsilon_lower is a lower bound: claim the epsilon that is stated, attack = "guarantee"'


@pytest.mark.parametrize("wrong", [{}, {"metric": "epsilon"}, {"against": "image"}, {"access": "WEIGHTS"}])
def test_a_claim_on_a_guarantee_says_whose_epsilon_it_is(wrong):
    given = {"name": "a", "defense": "image", "attack": "guarantee", "at_most": 3.0}
    metric = {} if not wrong or "metric" in wrong else {"metric": "epsilon_by_image"}
    with pytest.raises(ValidationError, match="metric = epsilon_by_image or epsilon_by_group, without against"):
        Claim(**given, **metric, **wrong)


def test_claims_that_a_run_bears_out_have_epsilon_by_person(run, tmp_path):
    found = {one.claim.name: one.claim for one in list_supported(run) if one.claim}
    assert found["image: epsilon by person"].at_most == 25.0 and found["person: epsilon by person"].at_most == 3.5
    (tmp_path / "claims.toml").write_text(format_claims(list_supported(run)))
    assert {one.name for one in read_claims(tmp_path / "claims.toml")} == set(found)

"""Scores of persons: against a loop, against the closed form of their separation, and on the toy of people."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy.stats import norm

from leakbench.data.split_groups import has_several
from leakbench.metrics.evaluate.membership import evaluate_record
from leakbench.metrics.evaluate.persons import PARTS, score_identities, score_persons
from leakbench.results.evidence import MembershipEvidence

SIDES = ("member", "nonmember", "calibration_member", "calibration_nonmember")


def draw(rng, people=60, each=10, rho=0.3, shift=0.8):
    """Evidence of persons whose images' scores are correlated by rho; members' are larger by `shift`."""
    arrays = {}
    for number, side in enumerate(SIDES):
        whose = np.repeat(np.arange(people), each) + 1000 * number
        person = np.repeat(rng.normal(size=people), each) * sqrt(rho)
        scores = person + rng.normal(size=people * each) * sqrt(1 - rho)
        order = rng.permutation(len(whose))
        arrays[f"{side}_scores"] = (scores + shift * (not side.endswith("nonmember")))[order]
        arrays[f"{side}_groups"] = whose[order]
    return MembershipEvidence(**arrays)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_person_s_score_joins_the_standardised_scores_of_the_images(sign):
    evidence = draw(np.random.default_rng(0))
    evidence = MembershipEvidence(**{k: v * sign if k.endswith("scores") else v for k, v in evidence.arrays.items()})
    found, way = score_persons(evidence)
    known = sign * evidence.calibration_nonmember_scores
    join = {"mean": np.mean, "sum": np.sum, "largest": np.max}[way]
    for side in SIDES:
        scores, whose = getattr(evidence, f"{side}_scores"), getattr(evidence, f"{side}_groups")
        people = sorted(set(whose))
        wanted = [join((sign * scores[whose == one] - known.mean()) / known.std()) for one in people]
        np.testing.assert_allclose(getattr(found, f"{side}_scores"), wanted, rtol=1e-12)
        assert getattr(found, f"{side}_groups").tolist() == people


def test_persons_are_told_apart_as_the_closed_form_says():
    """d / sqrt(rho + (1 - rho) / k): at d 0.8, rho 0.3, k 10 an AUC of 0.82 by person beside 0.71 by image."""
    rng, aucs = np.random.default_rng(1), []
    for _ in range(60):
        evidence = draw(rng)
        by_image = evaluate_record(evidence, False, None, False)
        by_person = evaluate_record(score_persons(evidence)[0], False, None, False)
        aucs.append([next(m.value for m in one.metrics if m.name == "auc") for one in (by_image, by_person)])
    by_image, by_person = np.mean(aucs, axis=0)
    assert by_image == pytest.approx(norm.cdf(0.8 / sqrt(2)), abs=0.01)
    assert by_person == pytest.approx(norm.cdf(0.8 / sqrt(0.3 + 0.7 / 10) / sqrt(2)), abs=0.01)


def test_persons_who_leak_nothing_are_said_to_leak_in_one_of_twenty():
    """Intervals of persons: 95 % of them hold 1/2 where scores of a person resemble one another and nothing leaks."""
    rng, missed, runs = np.random.default_rng(2), 0, 400
    for _ in range(runs):
        metrics = evaluate_record(
            score_persons(draw(rng, people=20, each=5, rho=0.6, shift=0.0))[0], False, None, False
        )
        area = next(m for m in metrics.metrics if m.name == "auc")
        missed += not area.ci_low <= 0.5 <= area.ci_high
    assert missed / runs <= 0.08


def test_other_images_answer_for_persons_in_the_units_of_their_own_images():
    evidence = draw(np.random.default_rng(3), people=4, each=3)
    others = {
        part: (np.arange(4.0), getattr(evidence, name.replace("scores", "groups"))[[0, 0, 1, 2]])
        for name, part in PARTS.items()
    }
    found, _ = score_identities(evidence, others)
    known = evidence.calibration_nonmember_scores
    whose = others["member"][1]
    unit = (np.arange(4.0) - known.mean()) / known.std()
    wanted = {np.mean: [], np.sum: [], np.max: []}
    for join, values in wanted.items():
        values += [join(unit[whose == one]) for one in sorted(set(whose))]
    assert any(np.allclose(found.member_scores, values) for values in wanted.values())


def test_one_image_a_person_is_what_stands_by_image():
    evidence = draw(np.random.default_rng(4), each=1)
    assert not has_several(evidence.member_groups)
    by_image, by_person = (
        {m.name: m.value for m in evaluate_record(one, False, None, False).metrics}
        for one in (evidence, score_persons(evidence)[0])
    )
    assert by_person["auc"] == pytest.approx(by_image["auc"], abs=1e-12)


def test_a_score_that_is_no_number_is_flagged_of_its_person_too():
    evidence = draw(np.random.default_rng(5))
    evidence.member_scores[3] = np.nan
    assert "non-finite" in evaluate_record(score_persons(evidence)[0], False, None, False).flags


def test_images_without_groups_have_no_persons():
    plain = MembershipEvidence(*(np.arange(4.0) for _ in SIDES))
    with pytest.raises(ValueError, match="no persons"):
        score_persons(plain)

"""Records of persons in a submission: none can be left out, made up, or stand for the record of their images."""

from __future__ import annotations

import json

import pytest

from leakbench import check_submission
from leakbench.interface.submission.pack import submit

from .conftest import Packed, read_zip


@pytest.fixture(scope="module")
def sent(asked_of_people, tmp_path_factory):
    return submit(asked_of_people[0], tmp_path_factory.mktemp("sent") / "people.zip")


@pytest.fixture
def changed(sent, tmp_path):
    """The submission, to be changed, and the stem of an attack's record at DENOISER of the baseline."""
    packed = Packed(read_zip(sent), tmp_path / "changed.zip")
    stems = {}
    for name, data in packed.files.items():
        if name.startswith("records/"):
            record = json.loads(data)
            if (record["point"], record["access"]) in (("baseline", "DENOISER"), ("baseline", "NONE")):
                stems[record["attack"]] = name.removeprefix("records/").removesuffix(".json")
    return packed, stems


def drop(packed, stem):
    del packed.files[f"records/{stem}.json"], packed.files[f"arrays/{stem}.npz"]


def test_an_honest_submission_about_people_agrees(sent):
    findings = check_submission(sent).findings
    assert findings.disagreements == [] and findings.missing == []
    assert any("loss@identity" in note for note in findings.notes)


@pytest.mark.parametrize("unit", ["person", "identity"])
def test_a_record_of_persons_that_is_left_out_is_missing(changed, unit):
    packed, stems = changed
    drop(packed, stems[f"loss@{unit}"])
    findings = check_submission(packed.seal()).findings
    assert findings.missing == [f"baseline, loss@{unit} at DENOISER, seed 0"]


@pytest.mark.parametrize("attack", ["blind", "loss"])
def test_a_record_of_persons_stands_for_none_of_their_images(changed, attack):
    packed, stems = changed
    drop(packed, stems[attack])
    findings = check_submission(packed.seal()).findings
    assert any(f"baseline, {attack} at " in words for words in findings.missing)
    assert any("no record of the same persons' images" in words for words in findings.disagreements)


def test_scores_of_persons_follow_from_those_of_their_images(changed):
    packed, stems = changed
    arrays = packed.arrays(stems["loss@person"])
    packed.write_arrays(stems["loss@person"], arrays | {"member_scores": arrays["member_scores"][::-1].copy()})
    found = check_submission(packed.seal()).findings.disagreements
    assert any("member_scores does not follow from the scores of the persons' images" in words for words in found)


def test_another_unit_and_a_plan_that_forgets_persons_are_found(changed):
    packed, stems = changed
    packed.edit("plan.json", lambda plan: plan.update(units=["image"]))
    found = check_submission(packed.seal()).findings.disagreements
    assert any("units are ('image',), and drawing the split again gives" in words for words in found)
    assert any("units lack 'identity'" in words for words in found)
    assert any(stems["loss@person"] in words and "not asked for by the plan" in words for words in found)

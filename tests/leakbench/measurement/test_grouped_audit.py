"""A data set that says whose each image is: records count persons; one that does not is audited as ever."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from leakbench.api import Access, AuxiliaryModel
from leakbench.api.attack import CanaryKind
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.auxiliary import canary_rows, training_rows
from leakbench.measurement.canaries import Canaries
from leakbench.measurement.feature_extractor import FeatureExtractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.recompute import RecordArrays, recompute_record
from leakbench.measurement.record_contents import RecordSpec
from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.reports.site.report import render
from leakbench.results.run_folder import RunFolder
from leakbench.runner.absent_plugins import AbsentPlugins
from leakbench.runner.description import describe_groups
from leakbench.runner.manifest import to_manifest
from leakbench.runtime.files import write_atomically
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load


@pytest.fixture
def audit(tiny, tmp_path):
    """audit(folder, grouped): of the baseline, on digits, each three neighbours of which are of one person."""

    def make(folder, grouped):
        inputs = RunInputs(load(str(tiny), ()), RunConfig(tmp_path / folder, tmp_path / "cache"))
        if grouped:
            vars(inputs)["data"] = replace(inputs.data, group=np.arange(len(inputs.data.images)) // 3)
        builder = ReleaseBuilder(inputs)
        return ReleaseAudit(AuditContext(builder, FeatureExtractor(inputs), inputs.suite.points[0], 0))

    return make


def test_records_count_the_persons_behind_the_images(audit, tmp_path):
    grouped = audit("grouped", True)
    (record,) = grouped.run([RecordSpec("loss", Access.DENOISER)])
    arrays, split = RunFolder(tmp_path / "grouped").arrays(record), grouped.context.inputs.split
    for name, part in {
        "member_groups": "member",
        "nonmember_groups": "nonmember",
        "calibration_member_groups": "calibration_in",
        "calibration_nonmember_groups": "calibration_out",
    }.items():
        assert np.array_equal(arrays[name], split.parts[part] // 3)
    found = {metric.name: metric for metric in record.metrics}
    persons = [len(np.unique(arrays[f"{side}_groups"])) for side in ("member", "nonmember")]
    assert found["auc"].n == 40 and found["auc"].n_groups == min(persons) < 40
    assert found["tpr@fpr=0.1"].n_groups == persons[0]


def test_a_whole_person_has_one_coin_and_is_one_canary(audit):
    """Of every kind of canary; half of the persons are made. One image a person is as none at all, coin by coin."""
    inputs = audit("coins", True).context.inputs
    split, pool = inputs.split, set(inputs.pool.tolist())
    for kind in get_args(CanaryKind):
        model = AuxiliaryModel("c", kind="canary", canaries=kind)
        made, trained = canary_rows(split, model, 0), set(inputs.training_rows(model, 0).tolist())
        inside = np.array([row in trained for row in made])
        coins = {int(person): set(inside[made // 3 == person]) for person in np.unique(made // 3)}
        assert all(len(coin) == 1 for coin in coins.values()) and pool - set(made.tolist()) <= trained
        heads = [next(iter(coin)) for coin in coins.values()]
        assert len(coins) > 20 and 0.25 < np.mean(heads) < 0.75
        persons = {row // 3 for row in pool}
        assert len(coins) == (len(persons) if kind == "ordinary" else len(persons) // 2)
        alone, none = (replace(split, group=group) for group in (np.arange(len(split.group))[::-1], None))
        for rows in (canary_rows, lambda split, model, seed: training_rows(split, None, model, seed)):
            assert np.array_equal(rows(alone, model, 0), rows(none, model, 0))


def test_gradients_of_a_persons_images_are_one_canarys():
    group = np.array([7, 2, 7, 2, 9, 9, 9])
    found = Canaries(AuxiliaryModel("c", kind="canary", canaries="gradient"), np.array([0, 1, 2, 3]), group)
    told = found.gradients(np.array([0, 2, 4, 5]))
    assert told.number.tolist() == [0, 0, -1, -1] and told.canary.tolist() == [0, 1, 0, 1]
    assert (told.count, told.sizes.tolist(), found.groups.tolist()) == (2, [2, 2], [7, 2, 7, 2])
    assert told.by_id(torch.tensor([0.5, 1.5])).tolist() == [0.5, 1.5, 0.5, 1.5]


def test_without_groups_nothing_is_told_of_any(audit, tmp_path):
    (record,) = audit("plain", False).run([RecordSpec("loss", Access.DENOISER)])
    assert all(metric.n_groups is None for metric in record.metrics)
    arrays = RunFolder(tmp_path / "plain").arrays(record)
    assert not any(name.endswith("_groups") for name in arrays)


def test_people_on_both_sides_are_counted_named_and_flagged(tiny, tmp_path):
    """Words of a data set may put the images of one person on both sides; a draw does not."""
    inputs = RunInputs(load(str(tiny), ()), RunConfig(tmp_path / "run", tmp_path / "cache"))
    count = len(inputs.data.images)
    words = np.array(["member", "calibration_in", "nonmember", "calibration_out", "reference"])
    split = np.concatenate([np.repeat(words, (40, 20, 40, 20, 40)), np.full(count - 160, "reference")])
    group = np.arange(count)
    group[60:63] = 0, 0, 45  # two nonmembers are of the first member, one of a calibration image
    names = tuple(f"Person {number}" for number in range(count))
    vars(inputs)["data"] = replace(inputs.data, split=split, group=group, group_names=names)
    lines = list(describe_groups(inputs))
    assert lines[0].startswith("groups: 40 of member, 20 of calibration_in, 20 of calibration_out, 39 of nonmember, ")
    assert lines[1].startswith("shared-groups: 2 of them are on both sides (Person 0, Person 45), and 3 nonmembers are")
    assert lines[2].startswith("each membership attack is asked about images, and about people by the images")
    builder = ReleaseBuilder(inputs)
    (record,) = ReleaseAudit(AuditContext(builder, FeatureExtractor(inputs), inputs.suite.points[0], 0)).run(
        [RecordSpec("loss", Access.DENOISER)]
    )
    run = RunFolder(tmp_path / "run")
    assert "shared-groups" in record.flags
    again = recompute_record(record, RecordArrays(run.arrays(record)))
    assert again is not None and "shared-groups" in again.flags
    plan = to_manifest(builder, ["leakbench run tiny"], AbsentPlugins())
    assert plan.groups is not None and (plan.groups.shared, plan.groups.shared_nonmembers) == (2, 3)
    write_atomically(run.path / "plan.json", plan.model_dump_json().encode())
    report = render(RunFolder(run.path))
    assert "> **People on both sides** (`shared-groups`): 2 groups" in report and "and 3 of the\n> reported" in report
    assert "Images come in groups (people, patients, scenes): 40 of member" in report
    assert "Person" not in report and not any("Person" in p.read_text() for p in run.path.rglob("*.json"))


def test_a_report_states_that_each_image_is_taken_to_be_of_another_person(finished):
    report = render(RunFolder(finished.out))
    assert "Each image is taken to be of another person (patient, scene)." in report
    assert "`--groups` or `--group-by` says whose each is." in report and "shared-groups" not in report


def test_copies_are_of_people_too(audit, tmp_path):
    grouped = audit("copies", True)
    (record,) = grouped.run([RecordSpec("nearest_copy", Access.SAMPLES)])
    arrays, split = RunFolder(tmp_path / "copies").arrays(record), grouped.context.inputs.split
    assert np.array_equal(arrays["copied_groups"], split.train[arrays["nearest"]] // 3)
    assert np.array_equal(arrays["heldout_groups"], split.parts["nonmember"] // 3)
    found = {metric.name: metric for metric in record.metrics}
    copied = arrays["similarity"] >= record.info["threshold"]
    assert found["copied_groups"].value == len(set(arrays["copied_groups"][copied]))
    assert found["copied_groups"].value <= found["unique_copies"].value
    assert found["copy_rate_null"].n_groups == len(np.unique(arrays["heldout_groups"])) < 40
    again = recompute_record(record, RecordArrays(arrays, trained_on=len(split.train)))
    assert [one.model_dump() for one in again.metrics] == [one.model_dump() for one in record.metrics]

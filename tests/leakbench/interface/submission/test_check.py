"""Checking a submission: an honest one agrees; whatever was changed afterwards is found, also by who can hash."""

from __future__ import annotations

import hashlib
import json
import zipfile

import numpy as np
import pytest

import leakbench.interface.submission.check as check_module
from leakbench import UsageError, check_submission
from leakbench.interface.submission.check_numbers import _check_ranges
from leakbench.interface.submission.findings import Findings
from leakbench.metrics.evaluate.membership import dataset_inference
from leakbench.results.evidence import MembershipEvidence
from leakbench.results.record import Record
from leakbench.results.run_digest import digest_run
from leakbench.results.verified import read_verified

LOSS = "baseline__loss__DENOISER__seed0"
PIA = "cpsample_alpha=0.5__pia__WEIGHTS__seed0"
COPIES = "baseline__nearest_copy__SAMPLES__seed0"


def found(path):
    return check_submission(path).findings.disagreements


def metric(record, name):
    return next(one for one in record["metrics"] if one["name"] == name)


def identify(plan):
    """Make the identity of a plan that of its settings, as whoever changes them can."""
    plan["identity"] = hashlib.sha256(json.dumps(plan["settings"], sort_keys=True).encode()).hexdigest()


def test_an_honest_submission_agrees_as_archive_and_as_folder(submitted, tmp_path, leakbench):
    outcome = leakbench("check", "submission", submitted)
    assert outcome.code == 0, outcome.out
    assert outcome.out.splitlines()[-1].startswith("agrees: 18 records, 0 missing, ")
    with zipfile.ZipFile(submitted) as archive:
        archive.extractall(tmp_path / "unpacked")
    checked = check_submission(tmp_path / "unpacked")
    assert checked.status == "agrees"
    assert checked.digest == digest_run(tmp_path / "unpacked") and checked.digest in outcome.out
    assert checked.findings.numbers > 100


def test_numbers_are_those_of_an_untouched_run(packed):
    assert found(packed.seal()) == []


QUALITY = "cpsample_alpha=0.5__quality__SAMPLES__seed0"

TAMPERED = {
    "floor": (
        f"records/{QUALITY}.json",
        lambda r: metric(r, "frechet_floor").update(value=0.5),
        "frechet_floor is 0.5",
    ),
    "share": (f"records/{QUALITY}.json", lambda r: metric(r, "recall").update(ci_low=0.0), "of no share"),
    "metric": (f"records/{LOSS}.json", lambda r: metric(r, "auc").update(value=0.5), "auc is 0.5, and its arrays give"),
    "interval": (f"records/{LOSS}.json", lambda r: metric(r, "auc").update(ci_low=0.1), "ci_low of auc is 0.1"),
    "number of images": (f"records/{LOSS}.json", lambda r: metric(r, "auc").update(n=4000), "n of auc is 4000"),
    "copies": (
        f"records/{COPIES}.json",
        lambda r: metric(r, "copy_rate").update(value=0.9, ci_high=1.0),
        "copy_rate is 0.9",
    ),
    "left-out metric": (f"records/{LOSS}.json", lambda r: r["metrics"].pop(0), "auc: is left out"),
    "made-up metric": (
        f"records/{LOSS}.json",
        lambda r: r["metrics"].append({"name": "epsilon_lower", "value": 0.0, "n": 40}),
        "epsilon_lower: does not follow",
    ),
    "impossible value": (f"records/{COPIES}.json", lambda r: metric(r, "copy_rate").update(value=7.0), "cannot be"),
    "flag": (f"records/{LOSS}.json", lambda r: r["flags"].remove("few-negatives"), "flag few-negatives is left out"),
    "made-up flag": (f"records/{LOSS}.json", lambda r: r["flags"].append("tied-scores"), "flag tied-scores is there"),
    "sign": (f"records/{LOSS}.json", lambda r: r["info"].update(orientation=-r["info"]["orientation"]), "orientation"),
    "rate": (f"records/{LOSS}.json", lambda r: r["realised_fpr"].update({"tpr@fpr=0.1": 0.01}), "realised_fpr"),
    "attack": (f"records/{PIA}.json", lambda r: r["attack_params"].update(t=999), "attack_params are not those"),
    "defense": (f"records/{PIA}.json", lambda r: r["defense_params"].update(steps=40000), "defense_params.steps"),
    "dataset": (f"records/{PIA}.json", lambda r: r.update(dataset="cifar10"), "dataset is 'cifar10'"),
    "seed list": ("plan.json", lambda p: p["seeds"].append(1), "seeds is [0, 1], and its settings give [0]"),
    "settings": ("plan.json", lambda p: p["settings"].update(seeds=[0, 1]), "identity is"),
    "count": ("plan.json", lambda p: p["split"].update(member=400), "split.member is 400"),
    "role": ("plan.json", lambda p: p["points"][0].update(role="control"), "point 'baseline' is"),
    "point": ("plan.json", lambda p: p["points"].pop(), "is left out"),
    "ensemble": ("plan.json", lambda p: p.update(ensemble="strongest 1"), "ensemble is 'strongest 1'"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_changed_is_found_with_hashes_made_again(packed, what):
    name, change, words = TAMPERED[what]
    packed.edit(name, change)
    assert any(words in line for line in found(packed.seal())), found(packed.path)


def test_a_mean_of_p_values_may_lie_beyond_their_central_95_percent(packed):
    """CDI's yardstick, where members are told with ease: a few draws hold nearly all of the mean."""
    rng = np.random.default_rng(0)
    scores, groups = rng.normal([[2], [0], [2], [0]], 1, (4, 300)), np.arange(1200).reshape(4, 300)
    found = [one for more in ((), groups) for one in dataset_inference(MembershipEvidence(*scores, *more)).metrics]
    beyond = {one.name.partition("=")[0] for one in found if one.value > one.ci_high}
    assert beyond >= {"set_p_value@images", "set_p_value@groups"}
    record = json.loads(packed.files["records/baseline__loss__DENOISER__seed0.json"])
    del record["checksum"]
    findings = Findings()
    _check_ranges(Record(**record | {"metrics": [one.model_dump() for one in found]}), "record", findings)
    assert not findings.disagreements
    turned = [one.model_dump() | {"ci_low": one.ci_high, "ci_high": one.ci_low} for one in found[:1]]
    _check_ranges(Record(**record | {"metrics": turned}), "record", findings)
    assert len(findings.disagreements) == 1


@pytest.mark.parametrize("name", [f"records/{LOSS}.json", f"arrays/{PIA}.npz", "plan.json"])
def test_what_was_changed_is_found_by_its_hash(packed, name):
    packed.files[name] += b" "
    assert f"{name}: its sha256 is not that of manifest.json" in found(packed.write())
    del packed.files[name]
    if name != "plan.json":
        assert f"{name}: in manifest.json, and not there" in found(packed.write())


def test_a_changed_array_is_found_at_each_step_of_hiding_it(packed):
    arrays = packed.arrays(LOSS)
    arrays["member_scores"] = arrays["member_scores"] - 10
    packed.write_arrays(LOSS, arrays, hashed=False)
    assert "its sha256 is not that of its record" in found(packed.seal())[0]
    packed.write_arrays(LOSS, arrays)
    assert any("auc is" in line for line in found(packed.seal()))


def test_a_changed_hash_is_found(packed):
    packed.edit(f"records/{LOSS}.json", lambda r: r.update(arrays="0" * 64))
    assert found(packed.seal()) == [f"arrays/{LOSS}.npz: its sha256 is not that of its record"]


def test_images_that_the_seed_does_not_draw_are_found(packed):
    arrays = packed.arrays(LOSS)
    arrays["member_rows"][0], kept = arrays["nonmember_rows"][0], arrays["member_rows"][0]
    packed.write_arrays(LOSS, arrays)
    assert any("is member and nonmember" in line for line in found(packed.seal()))
    arrays["nonmember_rows"][0] = kept  # one image has changed sides, and its score with it
    packed.write_arrays(LOSS, arrays)
    lines = found(packed.seal())
    assert any("member_rows: not the images that the seed of the plan draws" in line for line in lines)


def test_another_split_or_seed_than_was_run_is_found_although_the_plan_agrees_with_itself(packed, submitted):
    def another_split(plan):
        plan["settings"]["split"]["seed"] = 1
        identify(plan)

    packed.edit("plan.json", another_split)
    assert any("not the images that the seed of the plan draws" in line for line in found(packed.seal()))

    def another_seed(plan):
        plan["settings"]["split"]["seed"] = 0
        plan["settings"]["seeds"] = plan["seeds"] = [1]
        identify(plan)

    packed.edit("plan.json", another_seed)
    assert any("seed0.json: not asked for by the plan" in line for line in found(packed.seal()))


def test_a_cell_without_a_record_is_shown_as_missing(packed):
    del packed.files[f"records/{LOSS}.json"], packed.files[f"arrays/{LOSS}.npz"]
    checked = check_submission(packed.seal())
    assert checked.findings.missing == ["baseline, loss at DENOISER, seed 0"]
    assert checked.status == "agrees"


def test_a_missing_control_is_no_agreement(packed):
    def with_blind(plan):
        plan["settings"]["attack"].append({"name": "blind"})
        identify(plan)

    packed.edit("plan.json", with_blind)
    assert any("blind at NONE, seed 0: a control" in line for line in found(packed.seal()))


def test_numbers_without_arrays_and_records_without_numbers_are_found(packed):
    packed.edit(f"records/{LOSS}.json", lambda r: r.update(arrays=""))
    packed.edit(f"records/{PIA}.json", lambda r: r.update(arrays="", metrics=[], flags=[]))
    lines = found(packed.seal())
    assert f"records/{LOSS}.json: has numbers, and no arrays that they follow from" in lines
    assert f"records/{PIA}.json: has no numbers, and no flag that says why" in lines


def test_a_submitters_own_defense_and_attack_need_no_plugin_here(packed):
    """Their points go by their ids, and scores are evaluated whatever made them."""

    def with_own(plan):
        plan["settings"]["defense"][1] |= {"name": "my_defense", "id": "cpsample"}
        plan["settings"]["attack"][1] = {"name": "my_attack", "id": "pia"}
        identify(plan)

    packed.edit("plan.json", with_own)
    checked = check_submission(packed.seal())
    assert checked.findings.disagreements == []
    notes = " ".join(checked.findings.notes)
    assert "defense my_defense: no plugin" in notes and "attack pia: no plugin" in notes
    packed.edit("plan.json", lambda p: p["points"][0].update(role="control"))
    assert any("point 'baseline': its role is 'control'" in line for line in found(packed.seal()))
    packed.edit(f"records/{PIA}.json", lambda r: metric(r, "auc").update(value=0.5))
    assert any("auc is 0.5" in line for line in found(packed.seal()))


def test_an_attack_that_applies_cannot_be_left_out_as_not_applicable(packed):
    def left_out(record):
        record.update(arrays="", metrics=[], realised_fpr={}, flags=["not-applicable"], info={"skipped": "too strong"})

    packed.edit(f"records/{LOSS}.json", left_out)
    del packed.files[f"arrays/{LOSS}.npz"]
    assert found(packed.seal()) == [f"records/{LOSS}.json: says that loss does not apply, and it does"]


def test_a_void_track_has_an_exit_code_of_its_own(submitted, leakbench, monkeypatch):
    class Reason:
        words = "a classifier that never saw the model tells members from nonmembers"

    monkeypatch.setattr(check_module, "list_void_reasons", lambda run: (Reason,))
    outcome = leakbench("check", "submission", submitted)
    assert outcome.code == 3
    assert f"void: {Reason.words}" in outcome.out


def test_what_was_found_is_kept_by_digest_beside_what_others_submitted(submitted, packed, leakbench, tmp_path):
    file = tmp_path / "verified.json"
    packed.edit(*TAMPERED["metric"][:2])
    assert leakbench("check", "submission", packed.seal(), "--record", file).code == 1
    assert leakbench("check", "submission", submitted, "--record", file).code == 0
    assert leakbench("check", "submission", submitted, "--record", file).code == 0
    entries = {one.status: one for one in read_verified(file).submissions}
    assert entries.keys() == {"agrees", "disagrees"}
    assert entries["agrees"].digest == check_submission(submitted).digest
    assert "auc is 0.5" in entries["disagrees"].disagreements[0]


def test_a_change_of_one_byte_is_found_wherever_it_is(submitted, packed, tmp_path):
    """200 of 200, in any file of the folder and in the archive."""
    folder, rng = tmp_path / "unpacked", np.random.default_rng(0)
    with zipfile.ZipFile(submitted) as archive:
        archive.extractall(folder)
    names, whole = sorted(packed.files), submitted.read_bytes()
    for _ in range(200):
        name = names[rng.integers(len(names))]
        with_change(folder / name, packed.files[name], rng)
        assert_not_believed(folder)
        (folder / name).write_bytes(packed.files[name])
        with_change(packed.path, whole, rng)
        assert_not_believed(packed.path)


def with_change(path, data, rng):
    changed = bytearray(data)
    changed[rng.integers(len(changed))] ^= int(rng.integers(1, 256))
    path.write_bytes(bytes(changed))


def assert_not_believed(path):
    try:
        assert found(path)
    except UsageError as error:
        assert str(error).count("\n") == 0

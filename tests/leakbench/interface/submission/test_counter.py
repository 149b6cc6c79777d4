"""Counter-evaluations: asserted where there are scores, verified where the plugin gave them again on the weights."""

from __future__ import annotations

import json

import numpy as np
import pytest

from leakbench import UsageError, check_counter, check_submission
from leakbench.interface.submission.arrays import read_arrays
from leakbench.results.verified import read_verified, row_state

from .conftest import read_zip

POINT, STEM = "cpsample alpha=0.5", "cpsample_alpha=0.5__loss__DENOISER__seed0"
PLUGIN = """
from leakbench.attacks.membership.loss import Loss


class Stronger(Loss):
    name = "stronger"
    summary = "the loss, under another name"
"""


@pytest.fixture
def filed(tmp_path, submitted):
    """filed(scores=None, **values): the folder of a counter-evaluation; its scores are those that the plugin gives."""

    def write(scores=None, **values):
        folder = tmp_path / "counter"
        folder.mkdir(exist_ok=True)
        own = read_arrays(read_zip(submitted)[f"arrays/{STEM}.npz"], STEM)
        np.savez(folder / "scores.npz", **({k: v for k, v in own.items() if "scores" in k} | (scores or {})))
        (folder / "mine.py").write_text(PLUGIN)
        told = {"submission": check_submission(submitted).digest, "point": POINT, "seed": 0, "attack": "stronger"}
        told |= {"access": "DENOISER", "queries": 1.0, "by": "A. Nother", "plugin": "mine.py"} | values
        lines = [f"{key} = {json.dumps(value)}" for key, value in told.items() if value is not None]
        (folder / "counter.toml").write_text("\n".join(lines))
        return folder

    return write


def test_scores_alone_are_asserted_and_have_the_numbers_of_leakbench_score(filed, submitted, leakbench):
    folder = filed(plugin=None)
    found = check_counter(folder, submitted)
    assert found.entry.kind == "asserted"
    record = json.loads(read_zip(submitted)[f"records/{STEM}.json"])
    told = {one["name"]: one["value"] for one in record["metrics"]}
    assert {one.name: one.value for one in found.entry.metrics} == pytest.approx(told)
    outcome = leakbench("check", "counter", folder, "--against", submitted)
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1].startswith(f"asserted: stronger at DENOISER against {POINT}, seed 0: ")


def test_own_scores_of_more_access_are_no_attack_of_less(filed, submitted, leakbench):
    """The loss at DENOISER, said to come from samples alone, and turned round; whoever says DENOISER says no more."""
    folder = filed(plugin=None, access="SAMPLES")
    outcome = leakbench("check", "counter", folder, "--against", submitted)
    assert outcome.code == 1 and "the submission's own loss at DENOISER" in outcome.out
    own = read_arrays(read_zip(submitted)[f"arrays/{STEM}.npz"], STEM)
    turned = {name: 3 - 2 * own[name] for name in ("member_scores", "nonmember_scores")}
    assert check_counter(filed(scores=turned, plugin=None, access="API"), submitted).findings.disagreements
    assert not check_counter(filed(plugin=None), submitted).findings.disagreements


def test_the_plugin_is_not_run_without_weights(filed, submitted):
    folder = filed()
    (folder / "mine.py").write_text("raise SystemExit('it was run')")
    assert check_counter(folder, submitted).entry.kind == "asserted"


def test_a_plugin_that_gives_the_scores_again_is_verified_and_takes_the_row(filed, submitted, again, tmp_path):
    file = tmp_path / "verified.json"
    check_submission(submitted, record=file)
    found = check_counter(filed(), submitted, weights=again.out, record=file)
    assert found.findings.disagreements == []
    assert found.entry.kind == "verified" and found.entry.queries == 1.0
    entry = read_verified(file).submissions[0]
    assert entry.counters == (found.entry,)
    assert row_state(entry, POINT, "DENOISER", found.entry.lower_bound - 0.01) == "best external"
    assert row_state(entry, POINT, "API", 0.0) == "self-reported"
    check_submission(submitted, record=file)  # checking it again keeps what was filed
    check_counter(filed(), submitted, record=file)  # filed again, it stands there once
    assert len(read_verified(file).submissions[0].counters) == 1


def test_scores_that_the_plugin_does_not_give_are_not_verified(filed, submitted, again, tmp_path, leakbench):
    perfect = {"member_scores": np.linspace(1, 2, 40), "nonmember_scores": np.linspace(-2, -1, 40)}
    words = ("--against", submitted, "--weights", again.out, "--record", tmp_path / "verified.json")
    outcome = leakbench("check", "counter", filed(perfect), *words)
    assert outcome.code == 1
    assert "disagrees: the scores filed have an AUC of 1.000, and the plugin's run here one of" in outcome.out
    assert not (tmp_path / "verified.json").exists()


def test_weights_that_are_not_the_submissions_verify_nothing(filed, submitted, packed, again, monkeypatch):
    arrays = {stem: packed.arrays(stem) for stem in (STEM, STEM.replace("loss", "pia"))}
    for stem, found in arrays.items():  # a submission whose numbers follow from other scores than its weights give
        stretched = {name: x * 3 if "scores" in name else x for name, x in found.items()}
        packed.write_arrays(stem, stretched)
        packed.edit(f"records/{stem}.json", lambda r: r["info"].pop("balanced_threshold"))
    path = packed.seal()
    from leakbench.interface.submission import check_numbers

    monkeypatch.setattr(check_numbers, "_check_facts", lambda *_: None)
    digest = check_submission(path).digest
    found = check_counter(filed(submission=digest), path, weights=again.out)
    assert ["the weights at hand are not the submission's" in one for one in found.findings.disagreements] == [True]
    assert found.entry.kind == "asserted"


@pytest.mark.parametrize(
    ("values", "scores", "words"),
    [
        ({"submission": "0" * 64}, {}, "submission = '0000"),
        ({"point": "cpsample"}, {}, "point = 'cpsample': the submission has baseline, "),
        ({"seed": 3}, {}, "seed = 3"),
        ({}, {"member_scores": np.arange(39.0)}, "39 scores of member images: the submission has 40"),
    ],
)
def test_what_is_not_against_this_submission_does_not_count(filed, submitted, values, scores, words):
    lines = check_counter(filed(scores, **values), submitted).findings.disagreements
    assert len(lines) == 1 and words in lines[0]


def refused(folder, against, words, **options):
    with pytest.raises(UsageError) as refusal:
        check_counter(folder, against, **options)
    assert words in str(refusal.value) and str(refusal.value).isprintable()


def test_what_is_no_counter_evaluation_is_refused_in_one_line(filed, submitted, again, tmp_path):
    refused(tmp_path / "none", submitted, "no such folder")
    refused(filed(access="ALL"), submitted, "access = 'ALL'")
    refused(filed(queries=-1), submitted, "queries = -1")
    refused(filed(plugin="../mine.py"), submitted, "plugin = '../mine.py'")
    refused(filed(plugin="other.py"), submitted, "no such file beside it")
    refused(filed(attack="a\x1b[2J"), submitted, "attack = ")
    refused(filed({"member_scores": np.array([None] * 40)}), submitted, "plain numbers")
    (filed() / "link").symlink_to("/etc/passwd")
    refused(tmp_path / "counter", submitted, "'link' is a link")
    (tmp_path / "counter" / "link").unlink()
    refused(filed(plugin=None), submitted, "has no plugin to run", weights=again.out)
    refused(filed(attack="loss"), submitted, "defines no attack 'loss'", weights=again.out)
    refused(filed(), tmp_path, "not a packed run")


def test_weights_that_are_not_there_are_not_trained(filed, submitted, finished, cache):
    refused(filed(), submitted, "are not in the cache", weights=finished.out)
    assert not (cache / "fits").exists()


def test_a_submission_that_disagrees_with_itself_has_no_counter_evaluations(filed, packed):
    packed.edit("plan.json", lambda p: p.update(seeds=[1]))
    refused(filed(), packed.seal(), "does not agree with itself")

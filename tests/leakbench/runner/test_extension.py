"""Commands that follow one another into one folder: what they add, what they keep, and what they refuse."""

from __future__ import annotations

import json
import os

import pytest

from leakbench.results.run_folder import RunFolder

PIA = '[[attack]]\nname = "pia"\n'
SECMI = '\n[[attack]]\nname = "secmi"\n'
NORM = """
from leakbench.api import Access, MembershipAttack, release_param
class Norm(MembershipAttack):
    name, summary = "norm", "norm of the noise prediction"
    access = Access.DENOISER
    t: int = release_param(100, ge=0, lt=1000)
    def score(self, view, images, labels):
        return -view.eps(images, self.t).flatten(1).norm(dim=1)
"""
BROKEN = NORM.replace("return -view", 'raise ZeroDivisionError("not yet")\n        return -view')


@pytest.fixture
def run(leakbench, tmp_path, tiny):
    """run(*words): `leakbench run` of the test's tiny suite into tmp_path/run with one worker."""

    def call(*words, formats=("csv",)):
        return leakbench("run", tiny, "--out", tmp_path / "run", "--workers", 1, *words, formats=formats)

    return call


@pytest.fixture
def norm(tmp_path):
    """A file with an attack of the user's own."""
    path = tmp_path / "norm.py"
    path.write_text(NORM)
    return path


def edit(tiny, *changes, more=""):
    """Change the suite's file, as its user would."""
    text = tiny.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    tiny.write_text(text + more)


def plan_of(folder):
    return json.loads((folder / "plan.json").read_text())


def made(folder):
    """The files of records with the times when they were written."""
    return {path.stem: path.stat().st_mtime_ns for path in (folder / "records").iterdir()}


def cells(folder):
    return {(record.point, record.attack) for record in RunFolder(folder).records}


def commands(folder):
    return RunFolder(folder).plan.commands


def trainings(cache):
    return {path: path.stat().st_mtime_ns for path in (cache / "fits").iterdir()}


# What is added -------------------------------------------------------------------------------------------------------


def test_an_attack_added_to_the_suite_is_run_and_nothing_else(run, again, norm):
    before, trained = made(again.out), trainings(again.cache)
    edit(again.suite, more='\n[[attack]]\nname = "norm"\n')
    outcome = run("--plugin", norm, formats=("csv", "md"))
    assert outcome.code == 0
    assert outcome.err.startswith(f"leakbench: {again.out}: adds attack norm to the run that it holds\n")
    after = made(again.out)
    assert {stem: after[stem] for stem in before} == before and trainings(again.cache) == trained
    assert {stem.split("__")[1] for stem in after.keys() - before.keys()} == {"norm"}
    assert len(after) == len(before) + 3 * 2  # three releases, each at two levels
    report = (again.out / "report.md").read_text()
    assert "norm" in report and "pia" in report
    (command,) = commands(again.out)  # the edited file asks for all of it
    assert command.endswith(f"--plugin {norm}") and f"    {command}\n" in report


def test_points_and_seeds_are_added_and_trained(run, again):
    before, trained = made(again.out), trainings(again.cache)
    edit(again.suite, ("[0.25, 0.5]", "[0.5, 0.1]"))
    outcome = run()
    assert (outcome.code, outcome.err.splitlines()) == (
        0,
        [
            f"leakbench: {again.out}: adds point cpsample alpha=0.1 to the run that it holds",
            f"leakbench: {again.out}: keeps point cpsample alpha=0.25 of earlier commands, in reports too "
            "(--rerun all would leave them out)",
        ],
    )
    after = made(again.out)
    assert {stem: after[stem] for stem in before} == before and len(after) == 4 * 6
    assert trainings(again.cache) == trained
    assert [point.point for point in RunFolder(again.out).plan.points][1:] == [
        f"cpsample alpha={alpha}" for alpha in (0.25, 0.5, 0.1)
    ]
    outcome = run("--set", "seeds=[1]", "--set", "defense.cpsample.alpha=[0.5]")
    assert outcome.code == 0 and "adds seed 1" in outcome.err
    assert set(made(again.out)) > set(after) and len(made(again.out)) == 4 * 6 + 2 * 6
    plan = RunFolder(again.out).plan
    assert plan.seeds == [0, 1] and len(plan.commands) == 3


def test_one_attack_after_another_leaves_a_report_of_both(run, trained, tiny, tmp_path):
    out = tmp_path / "run"
    whole = tiny.read_text()
    edit(tiny, (PIA, ""))
    assert run().code == 0
    first = commands(out)
    tiny.write_text(whole.replace('name = "loss"', 'name = "pia"', 1).replace(PIA, "", 1))
    outcome = run("--no-images", formats=("csv", "md"))
    assert outcome.code == 0
    assert "adds attack pia" in outcome.err and "keeps attack loss of earlier commands" in outcome.err
    points = ["baseline", "cpsample alpha=0.25", "cpsample alpha=0.5"]
    assert cells(out) == {(p, a) for p in points for a in ("quality", "loss", "pia", "nearest_copy")}
    assert commands(out)[:1] == first and len(commands(out)) == 2
    report = (out / "report.md").read_text()
    assert "Each of these added to what was there before:\n\n" + "".join(f"    {c}\n" for c in commands(out)) in report
    assert len(json.loads((out / "history.json").read_text())) == 2
    before = made(out)
    assert run("--no-images").code == 0 and made(out) == before  # the smaller command once more: nothing to do
    assert len(commands(out)) == 2


def test_a_command_that_asks_for_less_finds_all_and_changes_no_plan(run, again):
    before, plan = made(again.out), plan_of(again.out)
    edit(again.suite, (PIA, ""))
    outcome = run()
    assert outcome.code == 0 and made(again.out) == before
    assert plan_of(again.out) == plan  # the command before it made all of this
    assert "keeps attack pia" in outcome.err and "adds" not in outcome.err


def test_an_attack_with_other_parameters_takes_its_place_and_the_older_records_are_kept_aside(run, again, norm):
    edit(again.suite, more='\n[[attack]]\nname = "norm"\n')
    assert run("--plugin", norm).code == 0
    before = made(again.out)
    older = {path.name: path.read_bytes() for path in (again.out / "records").glob("*__norm__*")}
    outcome = run("--plugin", norm, "--set", "attack.norm.t=30")
    assert (
        outcome.code == 0
        and "replaces attack norm (t: 100 -> 30); older records are kept in superseded/" in outcome.err
    )
    after = made(again.out)
    assert after.keys() == before.keys()
    assert {stem for stem in after if after[stem] != before[stem]} == {name.removesuffix(".json") for name in older}
    aside = again.out / "superseded" / "records"
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == older
    assert {r.attack_params["t"] for r in RunFolder(again.out).records if r.attack == "norm"} == {30}


# What an earlier command did not finish ------------------------------------------------------------------------------


def test_what_an_interrupted_command_left_undone_is_not_done_by_a_smaller_one(run, again):
    for path in (again.out / "records").iterdir():
        if "__pia__" in path.name or (path.name.startswith("cpsample_alpha=0.5") and "__loss__" not in path.name):
            path.unlink()
    (again.out / "records" / "cpsample_alpha=0.25__loss__DENOISER__seed0.json").unlink()
    edit(again.suite, (PIA, SECMI), ("alpha = [0.25, 0.5]", "alpha = [0.25]"), ('[[attack]]\nname = "loss"\n', ""))
    outcome = run(formats=("csv", "md"))
    assert outcome.code == 0
    assert "keeps attack loss, point cpsample alpha=0.5" in outcome.err
    asked = {(p, a) for p in ("baseline", "cpsample alpha=0.25") for a in ("quality", "secmi", "nearest_copy")}
    kept = {(p, "loss") for p in ("baseline", "cpsample alpha=0.25", "cpsample alpha=0.5")}
    assert cells(again.out) == asked | kept
    assert "pia" not in plan_of(again.out)["attacks"]  # never begun: no part of the run
    lacking = "nearest_copy and secmi at cpsample alpha=0.5"
    assert f"Not measured everywhere: {lacking}." in (again.out / "report.md").read_text()
    assert f"not measured: {lacking}" in " ".join(outcome.out.split())
    why = run("--plan")
    assert "0 cells" in why.out


def test_a_folder_without_a_record_takes_any_settings(run, again):
    for path in (again.out / "records").iterdir():
        path.unlink()
    outcome = run("--set", "sampler.steps=4", "--set", "defense.cpsample.alpha=0.5")
    assert outcome.code == 0 and "keeps" not in outcome.err
    assert plan_of(again.out)["settings"]["sampler"]["steps"] == 4


def test_a_broken_attack_is_mended_by_another_parameter_and_left_alone_by_other_commands(run, again, norm):
    norm.write_text(BROKEN)
    edit(again.suite, more='\n[[attack]]\nname = "norm"\n')
    assert run("--plugin", norm).code == 1
    edit(again.suite, ('\n[[attack]]\nname = "norm"\n', SECMI))
    outcome = run()  # without the plugin: it has nothing here
    assert outcome.code == 0 and "adds attack secmi" in outcome.err and "norm" not in outcome.err
    assert not (again.out / "failures.json").exists()


@pytest.mark.parametrize("moment", ["before the first record", "after the first record"])
def test_a_command_that_was_killed_while_it_added_goes_on_where_it_stopped(moment, run, again, monkeypatch):
    from leakbench.measurement import release_audit

    save, saved = release_audit.save_record, []

    def killed(*words):
        if len(saved) == (moment == "after the first record"):
            raise KeyboardInterrupt
        saved.append(save(*words))
        return saved[-1]

    before = made(again.out)
    edit(again.suite, (PIA, SECMI))
    with monkeypatch.context() as patch:
        patch.setattr(release_audit, "save_record", killed)
        assert run().code == 130
    assert len(made(again.out)) == len(before) + len(saved)
    first = made(again.out)
    outcome = run()
    assert outcome.code == 0 and "keeps attack pia" in outcome.err
    after = made(again.out)
    assert {stem: after[stem] for stem in first} == first and len(after) == len(before) + 3 * 2
    assert len(commands(again.out)) == 2


def test_damaged_records_of_what_is_not_asked_for_are_made_again(run, again, finished):
    path = next((again.out / "records").glob("baseline__pia__DENOISER*"))
    path.write_bytes(path.read_bytes()[:50])
    edit(again.suite, (PIA, SECMI))
    assert run().code == 0
    digest = {r.stem: r.digest for r in RunFolder(again.out).records}
    assert {r.stem: digest[r.stem] for r in RunFolder(finished.out).records} == {
        r.stem: r.digest for r in RunFolder(finished.out).records
    }


# What is refused -----------------------------------------------------------------------------------------------------

REFUSED = {
    "another data set": (["dataset=fashion-mnist"], "dataset: digits -> fashion-mnist"),
    "another split": (["split.seed=5", "split.members=41"], "split.members: 40 -> 41"),
    "another training": (["defense.baseline.steps=61"], "defense.baseline.steps: 60 -> 61"),
    "much": (
        ["network.width=16", "sampler.steps=4", "quality.samples=61", "split.members=41", "compile=true"],
        "and 1 more",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_settings_are_named_with_the_ways_on(case, run, again, tmp_path):
    overrides, words = REFUSED[case]
    (tmp_path / "run-2").mkdir()
    before = {path: path.read_bytes() for path in again.out.rglob("*") if path.is_file()}
    outcome = run(*(word for one in overrides for word in ("--set", one)))
    assert outcome.code == 2 and outcome.err.count("\n") == 1
    assert f"{again.out}: holds a run of suite 'tiny' with other settings: " in outcome.err and words in outcome.err
    assert f"--out {tmp_path / 'run-3'} " in outcome.err and "--rerun all" in outcome.err
    assert {path: path.read_bytes() for path in again.out.rglob("*") if path.is_file()} == before


def test_another_suites_folder_is_left_alone(run, again):
    before = made(again.out)
    edit(again.suite, ('name = "tiny"', 'name = "other"'))
    outcome = run()
    assert outcome.code == 2 and outcome.err.count("\n") == 1
    assert (
        f"{again.out}: holds a run of suite 'tiny', not 'other'; give another folder, --out {again.out}-2 "
        in outcome.err
    )
    assert made(again.out) == before


ROUNDED = """
from leakbench.api import Defense, Release, release_param
class RoundedRelease(Release):
    def eps(self, x, t, label=None):
        return (super().eps(x, t, label) / self.info["step"]).round() * self.info["step"]
class Rounded(Defense):
    name, summary, needs_base, changes = "rounded", "rounds the noise prediction", True, "sampling"
    step: float = release_param(0.1, gt=0)
    def release(self, artefacts, task):
        return RoundedRelease.wrap(task.base, info={"step": self.step})
"""


def test_what_came_from_plugins_stays_where_a_later_command_lacks_their_files(run, again, norm, monkeypatch, leakbench):
    from leakbench.runtime import registry

    def forget():
        monkeypatch.setattr(registry, "_loaded", {"attacks": {}, "defenses": {}})

    plain, rounded = again.suite.read_text(), norm.with_name("rounded.py")
    rounded.write_text(ROUNDED)
    edit(again.suite, more='\n[[attack]]\nname = "norm"\n')
    assert run("--plugin", norm).code == 0
    forget()
    again.suite.write_text(plain + '\n[[defense]]\nname = "rounded"\nbase = "baseline"\nstep = [0.2, 0.8]\n')
    outcome = run(
        "--plugin", rounded, formats=("csv", "md")
    )  # as docs/adding_a_defense.md has it, after the other page
    assert outcome.code == 0, outcome.err
    assert "adds points rounded step=0.2, rounded step=0.8" in outcome.err and "keeps attack norm of" in outcome.err
    assert (
        "Not measured everywhere: norm at rounded step=0.2 and rounded step=0.8."
        in (again.out / "report.md").read_text()
    )
    before, plan = made(again.out), plan_of(again.out)
    forget()
    again.suite.write_text(plain)
    outcome = run()  # as `leakbench run quick` once more: no plugin at all
    assert outcome.code == 0 and "keeps attack norm, points rounded step=0.2, rounded step=0.8 of" in outcome.err
    assert made(again.out) == before and plan_of(again.out) == plan
    again.suite.write_text(plain + SECMI)
    assert run().code == 0
    assert ("rounded step=0.8", "loss") in cells(again.out) and ("baseline", "norm") in cells(again.out)
    edited = plan_of(again.out)
    assert {"norm", "secmi"} <= edited["attacks"].keys() and len(edited["points"]) == 5
    assert leakbench("submit", again.out, "--out", again.out / "one.zip").code == 0
    for words in ((), ("--plugin", norm, "--plugin", rounded)):
        outcome = leakbench("check", "submission", again.out / "one.zip", *words)
        assert outcome.code == 0 and "disagree" not in outcome.out, outcome.out + outcome.err


def test_what_no_plugin_can_judge_is_set_aside_when_its_release_changed(run, again, norm, monkeypatch):
    from leakbench.runtime import registry

    edit(again.suite, more='\n[[attack]]\nname = "norm"\n')
    assert run("--plugin", norm).code == 0
    monkeypatch.setattr(registry, "_loaded", {"attacks": {}, "defenses": {}})
    edit(again.suite, ('\n[[attack]]\nname = "norm"\n', ""))
    path = again.out / "records" / "baseline__norm__DENOISER__seed0.json"
    record = json.loads(path.read_text())
    del record["checksum"]
    record["run"]["key"]["release"]["sampler"]["steps"] = 99
    path.write_text(json.dumps(record))
    outcome = run()
    assert outcome.code == 0 and "1 of 24 records" in outcome.err
    assert not path.exists() and (again.out / "superseded" / "records" / path.name).is_file()
    assert sum("__norm__" in stem for stem in made(again.out)) == 5


# What replaces -------------------------------------------------------------------------------------------------------


def test_rerun_all_replaces_the_run_and_loses_nothing(run, again):
    older = {path.name: path.read_bytes() for path in (again.out / "records").iterdir()}
    plan = (again.out / "plan.json").read_bytes()
    edit(again.suite, (PIA, ""))
    outcome = run("--set", "sampler.steps=4", "--set", "defense.cpsample.alpha=[0.5]", "--rerun", "all")
    assert outcome.code == 0
    assert cells(again.out) == {
        (p, a) for p in ("baseline", "cpsample alpha=0.5") for a in ("quality", "loss", "nearest_copy")
    }
    aside = again.out / "superseded"
    assert {path.name: path.read_bytes() for path in (aside / "records").iterdir()} == older
    assert (aside / "plan.json").read_bytes() == plan
    assert len(RunFolder(aside).records) == len(older)  # a run of its own, for `leakbench report`
    assert len(commands(again.out)) == 1 and "--rerun all" in commands(again.out)[0]


# What reads the folder -----------------------------------------------------------------------------------------------


def test_why_speaks_of_the_run_as_it_would_be(run, again, leakbench):
    edit(again.suite, (PIA, SECMI))
    outcome = leakbench("why", again.suite, "--out", again.out)
    assert outcome.code == 0
    assert " ".join(outcome.out.split()) == (
        "secmi at DENOISER and WEIGHTS, of 3 releases (baseline, seed 0; cpsample alpha=0.25, seed 0; "
        "cpsample alpha=0.5, seed 0): never made"
    )
    assert run().code == 0
    for asked in (again.out, again.suite):
        words = ("why", asked) if asked == again.out else ("why", asked, "--out", again.out)
        assert leakbench(*words).out == f"{again.out}: nothing would be made again\n"


def test_a_submission_and_a_diff_of_an_extended_run_agree_with_its_plan(run, again, finished, leakbench, tmp_path):
    edit(again.suite, (PIA, SECMI))
    assert run().code == 0
    assert leakbench("submit", again.out, "--out", tmp_path / "one.zip").code == 0
    outcome = leakbench("check", "submission", tmp_path / "one.zip")
    assert "disagree" not in outcome.out and outcome.code == 0, outcome.out + outcome.err
    outcome = leakbench("diff", finished.out, again.out)
    assert outcome.code == 0 and "secmi" in outcome.out


def test_reports_are_as_new_as_the_plan(run, again):
    edit(again.suite, (PIA, ""), ("seeds = [0]", 'seeds = [0]\nheadline = "tpr@fpr=0.01"'))
    os.utime(again.out / "report.md")
    assert run(formats=("md",)).code == 0
    assert "TPR at 1 % FPR" in (again.out / "report.md").read_text()

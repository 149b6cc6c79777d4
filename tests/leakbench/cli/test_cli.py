"""The command line: one clear line and exit code 2 for wrong usage; help begins with examples and loads no torch."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch


def check_refused(outcome, *words):
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("leakbench: ")
    assert outcome.err.count("\n") == 1, outcome.err
    for word in words:
        assert word in outcome.err


@pytest.fixture
def run(leakbench, tiny, tmp_path):
    """run(*words): `leakbench run` of the tiny suite into tmp_path/run with one worker."""
    return lambda *words: leakbench("run", tiny, "--out", tmp_path / "run", "--workers", 1, *words)


SETTINGS = {
    "dataset": ("dataset=digitz", ["'digitz'", "did you mean 'digits'?"]),
    "key": ("split.member=3", ["tiny.toml", "'split.member'", "did you mean 'members'?"]),
    "table": ("samplr.steps=3", ["tiny.toml", "'samplr'", "did you mean 'sampler'?"]),
    "defense": ("defense.baseline.name=basline", ["tiny.toml", "'basline'", "did you mean 'baseline'?"]),
    "attack": ("attack.pia.name=secm", ["tiny.toml", "'secm'", "did you mean 'secmi'?"]),
    "defense key": ("defense.cpsample.alfa=0.1", ["tiny.toml", "cpsample", "'alfa'", "did you mean 'alpha'?"]),
    "attack key": ("attack.pia.tt=3", ["tiny.toml", "pia", "'tt'"]),
    "value out of range": (
        "defense.cpsample.alpha=0.6",
        ["tiny.toml", "cpsample", "alpha = 0.6", "less than or equal to 0.5"],
    ),
    "attack value out of range": ("attack.pia.t=-1", ["tiny.toml", "pia", "t = -1", "greater than or equal to 0"]),
    "split out of range": ("split.members=0", ["tiny.toml", "split.members = 0", "1"]),
    "empty sweep": ("defense.cpsample.alpha=[]", ["tiny.toml", "cpsample", "alpha = []", "expands to nothing"]),
    "condition without labels": ('network.condition="genre"', ["network.condition = 'genre'", "'label'"]),
    "too many members": ("split.members=1790", ["digits", "too few images", "[split]"]),
    "unknown features": ("quality.features=incepton", ["quality.features = 'incepton'", "inception", "classifier"]),
    "no features file": ("quality.features=torchscript:no.pt", ["quality.features = 'torchscript:no.pt'", "no.pt"]),
    "malformed --set": ("members", ["--set 'members'", "PATH=VALUE"]),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_wrong_setting_is_one_line(run, case):
    setting, words = SETTINGS[case]
    check_refused(run("--set", setting), *words)


def test_unknown_suites_are_one_line(leakbench):
    check_refused(leakbench("run", "quikc"), "unknown suite 'quikc'; did you mean 'quick'?")
    check_refused(leakbench("run", "no/such.toml"), "'no/such.toml': no such file")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda_is_one_line(run):
    check_refused(run("--device", "cuda"), "--device cuda", "no usable CUDA device", "--device cpu")


def test_a_folder_that_cannot_be_written_to_is_one_line(leakbench, tiny, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    check_refused(
        leakbench("run", tiny, "--out", tmp_path / "file" / "run"), "--out", "file/run", "cannot be written to"
    )
    check_refused(leakbench("run", tiny, "--out", tmp_path / "file"), "--out", "cannot be written to")
    monkeypatch.setenv("LEAKBENCH_CACHE", str(tmp_path / "file" / "cache"))
    check_refused(leakbench("run", tiny, "--out", tmp_path / "run"), "cache", "file/cache", "cannot be written to")


def test_another_suites_folder_is_one_line(run, again, tiny):
    tiny.write_text(tiny.read_text().replace('name = "tiny"', 'name = "other"', 1))
    check_refused(run(), "holds a run of suite 'tiny', not 'other'", "--out")


def test_a_folder_with_a_damaged_plan_is_one_line(run, again):
    (again.out / "plan.json").write_text("[")
    check_refused(run(), "plan.json", "damaged", "--out")


IMAGES = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
NPZ = {
    "dtype": ({"images": IMAGES / 255.0}, ["images", "float64", "uint8"]),
    "shape": ({"images": IMAGES.reshape(200, 64)}, ["images", "(200, 64)", "(N, H, W)"]),
    "NaN": ({"images": np.full((200, 8, 8), np.nan)}, ["images", "NaN", "uint8"]),
    "too few": ({"images": IMAGES[:50]}, ["too few images", "[split]"]),
    "pickled": ({"images": np.array([{}] * 200, dtype=object)}, ["images", "pickled objects", "refused"]),
    "pickled labels": ({"images": IMAGES, "labels": np.array([{}] * 200, dtype=object)}, ["labels", "pickled objects"]),
    "word": ({"images": IMAGES, "split": np.array(["train"] * 200)}, ["split", "'train'", "member"]),
    "labels": ({"images": IMAGES, "labels": np.zeros(3, dtype=int)}, ["labels", "(3,)", "(200,)"]),
}


@pytest.mark.parametrize("case", NPZ)
def test_a_bad_npz_is_one_line(run, tmp_path, case):
    arrays, words = NPZ[case]
    np.savez(tmp_path / "mine.npz", **arrays)
    settings = ["--set", f"dataset=npz:{tmp_path / 'mine.npz'}", "--set", "quality.features=auto"]
    check_refused(run(*settings), "mine.npz", *words)


def test_a_condition_that_the_data_has_not_is_one_line(run, tmp_path):
    np.savez(tmp_path / "mine.npz", images=IMAGES)
    settings = [
        "--set",
        f"dataset=npz:{tmp_path / 'mine.npz'}",
        "--set",
        "network.condition=label",
        "--set",
        "quality.features=auto",
    ]
    check_refused(run(*settings), "condition = 'label'", "mine.npz")
    check_refused(
        run(*settings[:2]), "quality.features = 'classifier'", "needs labels", "--set quality.features=rotation"
    )


def test_plugins_and_records_that_are_not_there_are_one_line(leakbench, tmp_path, run):
    check_refused(leakbench("check", "plugin", "piaa"), "unknown plugin 'piaa'; did you mean 'pia'?")
    check_refused(run("--plugin", tmp_path / "none.py"), "--plugin", "none.py", "no such file")
    check_refused(leakbench("show", tmp_path / "none.json"), "none.json", "no such file", "DIR/records")
    (tmp_path / "bad.json").write_text("{}")
    check_refused(leakbench("show", tmp_path / "bad.json"), "bad.json", "not a record", "suite")
    check_refused(leakbench("report", tmp_path), str(tmp_path), "no plan.json")


def test_report_refuses_an_unknown_format_and_a_damaged_record(leakbench, again):
    check_refused(leakbench("report", again.out, "--format", "mdd"), "--format", "'mdd'", "did you mean 'md'?")
    check_refused(leakbench("report", again.out, "--format", "csv, page"), "--format page", "use --page FILE")
    next((again.out / "records").iterdir()).write_text("{")
    check_refused(leakbench("report", again.out, "--format", "csv"), "not a record", "Invalid JSON")


@pytest.mark.parametrize("words", [["run", "quick", "--set", "dataset=digitz"], ["check", "plugin", "x"]])
def test_the_real_command_line_says_the_same(shell, words):
    check_refused(shell(*words))


COMMANDS = [
    [],
    ["run"],
    ["audit"],
    ["export"],
    ["list"],
    ["show"],
    ["report"],
    ["check"],
    ["check", "plugin"],
    ["check", "claims"],
    ["check", "counter"],
    ["check", "submission"],
    ["claims"],
    ["claims", "init"],
    ["clean"],
    ["diff"],
    ["leaderboard"],
    ["new"],
    ["doctor"],
    ["fetch"],
    ["files"],
    ["power"],
    ["recipe"],
    ["rerun"],
    ["score"],
    ["submit"],
    ["why"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_begins_with_examples(leakbench, command):
    text = leakbench(*command, "--help").out
    example = text.index("Example")
    assert " ".join(["leakbench", *command]) in text[example:]
    for later in ("Arguments:", "Options:", "Commands:"):
        assert text.find(later) == -1 or example < text.index(later)


def test_no_command_is_left_out_of_that_test(leakbench):
    listed = leakbench("--help").out.split("Commands:")[1].split()
    assert {command[0] for command in COMMANDS[1:]} <= set(listed)
    import typer

    from leakbench.cli import app

    assert set(typer.main.get_command(app).commands) == {command[0] for command in COMMANDS[1:]}


def test_help_imports_no_torch_and_takes_under_a_second_and_a_half_of_cpu_time():
    code = """
import resource, sys
sys.argv = ["leakbench", "--help"]
from leakbench.cli import main
try:
    main()
except SystemExit:
    pass
heavy = {"torch", "numpy", "scipy", "sklearn", "pandas", "matplotlib", "diffusers"} & set(sys.modules)
used = resource.getrusage(resource.RUSAGE_SELF)
print(sorted(heavy), used.ru_utime + used.ru_stime, file=sys.stderr)
"""
    seconds = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        modules, _, spent = done.stderr.rpartition(" ")
        assert modules == "[]"
        seconds.append(float(spent))
    assert min(seconds) < 1.5


def test_list_names_what_is_there(leakbench):
    attacks = leakbench("list", "attacks").out
    assert [line.split()[:2] for line in attacks.splitlines() if line.startswith("pia ")] == [["pia", "DENOISER"]]
    assert "blind" in attacks
    assert [line.split()[1] for line in leakbench("list", "defenses").out.splitlines() if "untrained" in line] == [
        "control"
    ]
    assert "digits" in leakbench("list", "datasets").out
    assert "quick" in leakbench("list", "suites").out


def test_show_prints_the_numbers_of_a_record(leakbench, finished):
    path = finished.out / "records" / "baseline__pia__DENOISER__seed0.json"
    auc = next(m for m in json.loads(path.read_text())["metrics"] if m["name"] == "auc")
    row = next(line.split() for line in leakbench("show", path).out.splitlines() if line.startswith("auc"))
    assert row == ["auc", f"{auc['value']:.4g}", f"[{auc['ci_low']:.4g},", f"{auc['ci_high']:.4g}]", str(auc["n"])]


def test_show_tells_the_reason_of_a_skip_and_leaves_out_the_cache_key(leakbench, finished, tmp_path):
    told = json.loads((finished.out / "records" / "baseline__pia__DENOISER__seed0.json").read_text())
    assert told["run"]["key"] and told.pop("checksum")
    told |= {"metrics": [], "flags": ["not-applicable"], "info": {"skipped": "no [one] equation"}}
    (tmp_path / "skipped.json").write_text(json.dumps(told))
    lines = leakbench("show", tmp_path / "skipped.json").out.splitlines()
    assert lines[0].split() == ["skipped", "no", "[one]", "equation"]
    assert "'key'" not in "".join(lines) and "timings" in "".join(lines)
    assert not any(line.startswith("metric") for line in lines) and len(lines) < 40


def test_report_writes_again_what_the_run_wrote(leakbench, again, finished):
    for name in ("results.csv", "summary.csv", "report.md"):
        (again.out / name).unlink()
    outcome = leakbench("report", again.out, "--format", "csv, md")
    assert outcome.code == 0
    assert outcome.out.split()[:2] == [f"{again.out}/:", "results.csv,"]
    for name in ("results.csv", "summary.csv"):
        assert (again.out / name).read_bytes() == (finished.out / name).read_bytes()


def test_report_can_print_the_table_as_well(leakbench, again):
    outcome = leakbench("report", again.out, "--format", "terminal")
    assert outcome.code == 0
    assert "cpsample alpha=0.5" in outcome.out and "TPR at" not in outcome.out
    wide = leakbench("report", again.out, "--format", "terminal", "--wide")
    assert wide.code == 0 and "TPR at" in wide.out
    check_refused(leakbench("report", again.out, "--format", "csv", "--wide"), "--wide", "add terminal to --format")


def test_plan_prints_the_cells_and_an_estimate_and_writes_nothing(run, tmp_path):
    outcome = run("--plan")
    assert outcome.code == 0
    assert "6 cells (2 to train), 1 workers" in outcome.out
    assert "minutes and" in outcome.out
    for words in ("train   baseline, seed 0", "train   cpsample, seed 0", "cpsample alpha=0.5, seed 0"):
        assert words in outcome.out
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "cache").exists()


def test_plan_of_a_finished_run_has_no_cells(run, again):
    assert "0 cells (0 to train)" in run("--plan").out


def test_doctor_says_what_is_there_and_what_is_missing(leakbench, tmp_path):
    outcome = leakbench("doctor")
    assert outcome.code == 0
    states = {line.split()[0] for line in outcome.out.splitlines()}
    assert states <= {"ok", "missing", "broken"}
    assert f"torch {torch.__version__.split('+')[0]}" in outcome.out
    assert str(tmp_path / "cache") in outcome.out
    assert "broken" not in states

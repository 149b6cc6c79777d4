"""docs/submit.md: its commands run in their order, and the job that checks pull requests does as it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest

from leakbench.interface.submission.counter_file import CounterFile
from leakbench.interface.submission.manifest import build_manifest, format_manifest
from leakbench.interface.submission.pack import pack_files
from leakbench.results.verified import read_verified

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "submit.md").read_text()
(COUNTER,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
PLUGIN = """
from leakbench.attacks.membership.loss import Loss


class Mine(Loss):
    name = "my_attack"
    summary = "the loss, under another name"
"""


def test_the_table_of_a_counter_evaluation_names_every_key():
    assert set(tomllib.loads(COUNTER)) == set(CounterFile.model_fields)


def test_its_commands_run_in_their_order(again, leakbench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    again.out.rename(tmp_path / "runs" / "quick")
    commands = [shlex.split(line) for line in re.findall(r"^    leakbench (.*)$", PAGE, re.MULTILINE)]
    assert len(commands) == 5
    for words in commands:
        if words[:2] == ["check", "counter"]:
            write_counter(tmp_path, read_verified(tmp_path / "verified.json").submissions[0].digest)
        done = leakbench(*words)
        assert (done.code, done.err) == (0, ""), (words, done)
    (counter,) = read_verified(tmp_path / "verified.json").submissions[0].counters
    assert counter.kind == "verified"


def write_counter(home, digest):
    """The counter-evaluation of the page, with the scores that its plugin gives."""
    folder = home / "my_counter"
    folder.mkdir(exist_ok=True)
    (folder / "counter.toml").write_text(COUNTER.replace("DIGEST", digest).replace("t = 100", ""))
    (folder / "my_attack.py").write_text(PLUGIN)
    with np.load(home / "runs" / "quick" / "arrays" / "cpsample_alpha=0.5__loss__DENOISER__seed0.npz") as arrays:
        np.savez(folder / "scores.npz", **{name: arrays[name] for name in arrays.files if name.endswith("_scores")})


def test_every_state_of_a_row_is_explained():
    for word in ("self-reported", "ensemble", "best external", "unreliable"):
        assert re.search(rf"^\| `{word}` \| .+ \|$", PAGE, re.MULTILINE)


# The job ---


@pytest.fixture
def branch(tmp_path):
    """branch(files): the outcome of the job's script on a branch that adds these files; `leakbench` is a stub that
    notes what it was asked, and ends with the code that the name of the file says."""
    home, tools = tmp_path / "repository", tmp_path / "tools"
    (home / "submissions").mkdir(parents=True)
    tools.mkdir()
    stub = tools / "leakbench"
    stub.write_text(
        f'#!/bin/bash\necho "$@" >> {tmp_path}/asked\n'
        'if [[ $3 =~ ends([0-9]) ]]; then exit "${BASH_REMATCH[1]}"; fi\n'
    )
    stub.chmod(0o755)

    def git(*words):
        identity = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        subprocess.run(["git", *words], cwd=home, check=True, capture_output=True, env=os.environ | identity)

    def run(files):
        git("init", "-q", "-b", "main")
        git("commit", "-q", "--allow-empty", "-m", "base")
        git("checkout", "-q", "-b", "branch")
        for name, data in files.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_bytes(data)
        git("add", "-A")
        git("commit", "-q", "-m", "submission")
        path = {"PATH": f"{tools}:{os.environ['PATH']}"}
        script = [ROOT / ".ci" / "check_submissions", "main", "v.json"]
        done = subprocess.run(script, cwd=home, capture_output=True, text=True, env=os.environ | path, check=False)
        asked = tmp_path / "asked"
        return done.returncode, done.stdout, asked.read_text().splitlines() if asked.exists() else []

    return run


def test_the_job_checks_each_submission_and_finds_the_one_that_a_counter_evaluation_is_against(branch):
    manifest = build_manifest({}, "tiny", "")
    files = {
        "submissions/mine.zip": pack_files({"manifest.json": format_manifest(manifest)}),
        "submissions/void-ends3.zip": b"",
        "counters/theirs/counter.toml": f'submission = "{manifest.digest}"\n'.encode(),
        "counters/theirs/scores.npz": b"",
    }
    code, out, asked = branch(files)
    assert (code, out.strip()) == (0, "::warning::submissions/void-ends3.zip: its track is void")
    assert asked == [
        "check submission submissions/mine.zip --record v.json",
        "check submission submissions/void-ends3.zip --record v.json",
        "check counter counters/theirs --against submissions/mine.zip --record v.json",
    ]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("submissions/mine-ends1.zip", b"", "refused (exit code 1)"),
        ("submissions/mine-ends2.zip", b"", "refused (exit code 2)"),
        ("leakbench/statistics/auc.py", b"", "neither submissions/NAME.zip nor"),
        ("submissions/a\n::warning::b.zip", b"", r"submissions/a\n"),
        ("counters/theirs/counter.toml", b'submission = "0000"', "names no submission that is here"),
        ("counters/theirs/deep/x.py", b"", "neither submissions/NAME.zip nor"),
    ],
)
def test_the_job_refuses_what_does_not_agree_and_changes_of_anything_else(branch, name, data, words):
    code, out, _ = branch({name: data})
    assert code == 1
    assert words in out and out.count("\n") == 1

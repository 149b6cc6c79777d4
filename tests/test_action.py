"""action.yml: its steps run in a shell, as GitHub's runner does it, on a tiny audit; docs/github_action.md uses it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

import leakbench as lb
from leakbench.runner import run_log

ROOT = Path(__file__).parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
PAGE = (ROOT / "docs" / "github_action.md").read_text()
STEPS = ACTION["runs"]["steps"]


def filled(text, inputs):
    """Text with `${{ inputs.NAME }}` filled in; nothing else may stand in such braces."""
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found[1]], str(text))


def is_run(step, inputs):
    """Whether a step is run: conditions are `!cancelled() && inputs.NAME != ''`."""
    if "if" not in step:
        return True
    (name,) = re.fullmatch(r"\$\{\{ !cancelled\(\) && inputs\.([\w-]+) != '' \}\}", step["if"]).groups()
    return inputs[name] != ""


def run_action(folder, only=None, command="", **given):
    """Runs the steps (`only` one) with bash as GitHub does, `command` in place of leakbench's.

    Returns the exit code of each that was run, the summary, what pip was asked for, and what was printed.
    """
    inputs = {name: one.get("default", "") for name, one in ACTION["inputs"].items()}
    inputs |= {name.replace("_", "-"): str(value) for name, value in given.items()}
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    hurried = "from leakbench import cli; from leakbench.runner import run_log; run_log.FORMATS = ('csv',); cli.main()"
    call = command or f'exec {sys.executable} -c "{hurried}" "$@"'  # without figures
    (tools / "leakbench").write_text(f"#!/bin/sh\n{call}\n")
    (tools / "pip").write_text(f'#!/bin/sh\necho "$@" >> {folder}/pip.log\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    summary = folder / "summary.md"
    summary.write_text("")
    codes, said = {}, ""
    for step in STEPS:
        if "run" not in step or not is_run(step, inputs) or ("if" not in step and any(codes.values())):
            continue
        if only not in (None, step["name"]):
            continue
        assert "${{" not in step["run"] and step["shell"] == "bash"  # what an input holds is never run
        environment = {key: filled(value, inputs) for key, value in step["env"].items()}
        assert "${{" not in str(environment)
        runner = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_ACTION_PATH": str(ROOT)}
        path = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
        script = folder / "step.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=folder,
            env=os.environ | runner | path | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        codes[step["name"]] = done.returncode
        said += done.stdout + done.stderr
    log = folder / "pip.log"
    return SimpleNamespace(
        codes=codes, summary=summary.read_text(), said=said, pip=log.read_text() if log.is_file() else ""
    )


def save(folder, count, seed):
    generator = np.random.default_rng(seed)
    folder.mkdir()
    for number, coarse in enumerate(generator.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)):
        Image.fromarray(coarse).resize((16, 16), Image.Resampling.BICUBIC).save(folder / f"{number:03}.png")
    return folder


CLAIMS = """
[[claim]]
name = "No copies"
defense = "model"
attack = "nearest_copy"
metric = "copy_rate"
at_most = 0.5
"""


def test_its_steps_audit_judge_and_compare(tmp_path, monkeypatch):
    """A release whose samples are copies of training images, after one whose samples are not."""
    sides = {name: save(tmp_path / name, 60, seed) for seed, name in enumerate(("members", "nonmembers"))}
    generated, copying = save(tmp_path / "generated", 60, 5), tmp_path / "it's $(touch pwned)"
    shutil.copytree(sides["members"], copying)
    (tmp_path / "claims.toml").write_text(CLAIMS)
    monkeypatch.setattr(run_log, "FORMATS", ("csv",))
    settings = {"quality.features": "pixels"}
    common = {"attacks": "blind,nearest_copy", "out": "first"}
    monkeypatch.chdir(tmp_path)
    lb.audit(None, **sides, samples=generated, settings=settings, workers=1, device="cpu", **common)

    common |= {**sides, "claims": "claims.toml", "baseline": "first"}
    common["arguments"] = "--set quality.features=pixels\n--workers 1 --device cpu"
    done = run_action(tmp_path, **common | {"samples": copying, "out": "second"})
    assert done.codes == {"Install": 0, "Audit": 0, "Check claims": 1, "Compare with the baseline": 1}, done.said
    assert done.pip == f"install {ROOT}\n" and not (tmp_path / "pwned").exists()
    assert "## Privacy audit" in done.summary and "Claims: 0 hold, 1 broken, 0 undecided." in done.summary
    assert "::error " in done.said and "moved beyond noise: 1 worse, 0 better" in done.summary
    assert all((tmp_path / "second" / name).is_file() for name in ("claims.xml", "claims.md", "diff.md"))

    again = run_action(tmp_path, "Compare with the baseline", **common)  # the first beside itself
    assert again.codes == {"Compare with the baseline": 0}, again.said
    assert "none was shown to move" in again.summary


def test_a_void_track_fails_the_job_and_claims_are_judged_all_the_same(tmp_path):
    command = 'echo "$@"; case $1 in audit) exit 3;; esac'
    done = run_action(tmp_path, command=command, members="a b", nonmembers="c", model="-m", claims="x", strict="true")
    assert done.codes == {"Install": 0, "Audit": 3, "Check claims": 0}
    assert "--members=a b --nonmembers=c --attacks=strongest --out=privacy-audit -- -m" in done.summary
    assert "::error title=leakbench::the track is void" in done.said and "--strict -- x privacy-audit" in done.said


def test_the_example_gives_it_inputs_that_it_has():
    (workflow,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    steps = [step for job in yaml.safe_load(workflow)["jobs"].values() for step in job["steps"]]
    (ours,) = [step for step in steps if "leakbench" in step.get("uses", "")]
    needed = {name for name, one in ACTION["inputs"].items() if one.get("required")}
    assert needed <= set(ours["with"]) <= set(ACTION["inputs"])
    assert all("${{" not in step.get("run", "") for step in steps)


@pytest.mark.parametrize("name", ACTION["inputs"])
def test_every_input_is_used_and_explained(name):
    assert f"inputs.{name} " in (ROOT / "action.yml").read_text() and f"`{name}`" in PAGE

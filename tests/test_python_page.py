"""docs/python.md does what it says: its blocks run one after the other; a finished run stands in for long ones."""

from __future__ import annotations

import inspect
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import leakbench as lb
from leakbench.interface.settings import to_overrides
from leakbench.suite.load import load

PAGE = Path(__file__).parent.parent / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def calls(finished, monkeypatch):
    """Calls of `run` and `audit`, which answer the finished run if they can be made, and their suite can be read."""
    made = []

    def stand_in(function):
        signature = inspect.signature(function)

        def call(*arguments, **more):
            given = signature.bind(*arguments, **more).arguments
            made.append((function.__name__, given))
            if function.__name__ == "run":
                load(given["suite"], to_overrides(given.get("settings", ())))
            return lb.load(finished.out)

        return call

    for function in (lb.run, lb.audit):
        monkeypatch.setattr(lb, function.__name__, stand_in(function))
    return made


@pytest.fixture
def training(pipelines, monkeypatch):
    """What the page's training loop has before it."""
    monkeypatch.setattr("leakbench.runner.run_log.FORMATS", ("csv",))
    model, levels = pipelines.tiny(), np.random.default_rng(0).integers(0, 256, (110, 8, 8), dtype=np.uint8)
    loop = {"steps": 500, "train_one_step": lambda: None, "DDPMPipeline": type(model)}
    return loop | {"members": levels[:40], "nonmembers": levels[40:], "unet": model.unet, "scheduler": model.scheduler}


def test_the_blocks_run(finished, calls, training, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished.out, tmp_path / "runs" / "quick")
    names = dict(training)
    for block in BLOCKS:
        exec(block, names)
    assert [name for name, _ in calls] == ["run", "run", "audit", "audit"]
    assert set(names["results"].table().columns) >= {"denoiser_auc", "denoiser_tpr@fpr=0.1", "frechet_heldout"}
    assert names["watch"].curve()["step"].unique().tolist() == [500] and (tmp_path / "leakage.png").is_file()
    printed = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("[")]  # progress
    assert printed[0].endswith("the trade-off") and "runs/quick" in printed
    assert any(line.startswith("leaks: AUC 0.6") for line in printed)


def test_functions_and_errors_that_it_names_are_there():
    named = set(re.findall(r"leakbench\.(\w+)", re.sub(r"leakbench\.\w+\.\w+", "", PAGE.read_text())))
    assert named >= {"run", "audit", "load", "score", "TrainingAudit", "UsageError", "RunFailed"}
    assert named <= set(lb.__all__)

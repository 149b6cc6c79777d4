"""docs/your_model.md does what it says: its snippet makes a pipeline, and its commands run, without a network."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

PAGE = Path(__file__).parent.parent / "docs" / "your_model.md"


QUICKER = ["quality.samples=20", "sampler.steps=4", "sampler.batch=32"]  # the last --set wins


@pytest.mark.slow
def test_the_page_runs(leakbench, hurried, tmp_path, monkeypatch):
    text = PAGE.read_text()
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert "range(1500)" in snippet
    commands = [shlex.split(line) for line in re.findall(r"^    leakbench (audit .*)$", text, re.MULTILINE)]
    assert len(commands) == 13
    (words,) = [words for words in commands if "runs/first-look" in words]
    settings = [word for setting in QUICKER for word in ("--set", setting)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with torch.random.fork_rng():
        exec(snippet.replace("range(1500)", "range(20)"), {})  # a model as good as any to run on
    done = leakbench(*words, *settings, "--workers", 1, formats=("csv", "drawings", "md"))
    assert done.code == 0, done.err
    folder = tmp_path / "runs" / "first-look"
    assert {path.name for path in folder.iterdir()} >= {"report.md", "results.csv", "figures", "plan.json"}
    assert "handed in, not trained here" in (folder / "report.md").read_text()

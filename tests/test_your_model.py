"""docs/your_model.md does what it says: its snippet makes a pipeline, and its commands run, without a network."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "your_model.md"


QUICKER = ["quality.samples=20", "sampler.steps=4", "sampler.batch=32"]  # the last --set wins


@pytest.mark.slow
def test_the_page_runs(tmp_path):
    text = PAGE.read_text()
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert "range(1500)" in snippet
    (tmp_path / "make.py").write_text(snippet.replace("range(1500)", "range(20)"))  # a model as good as any to run on
    commands = [shlex.split(line) for line in re.findall(r"^    leakbench (audit .*)$", text, re.MULTILINE)]
    assert len(commands) == 5
    (words,) = [words for words in commands if not {"--plan", "strongest", "--samples"} & set(words)]
    settings = [word for setting in QUICKER for word in ("--set", setting)]
    for arguments in (["make.py"], ["-m", "leakbench.cli", *words, *settings, "--workers", "1"]):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "audit-my_pipeline"
    assert {path.name for path in folder.iterdir()} >= {"report.md", "results.csv", "figures", "plan.json"}
    assert "handed in, not trained here" in (folder / "report.md").read_text()

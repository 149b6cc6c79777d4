"""The README's three uses: their commands follow one another, on a finished run in the place of `quick`."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from leakbench.reports.figures import registry

README = (Path(__file__).parent.parent / "README.md").read_text()
USES = README.split("## Three uses\n")[1].split("\n## ")[0]


@pytest.fixture
def quick(finished, tmp_path, monkeypatch):
    """The finished run as runs/quick of the folder that the test stands in."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished.out, tmp_path / "runs" / "quick")
    monkeypatch.setattr(registry, "CHARTS", registry.CHARTS[:1])  # figures take seconds each
    return tmp_path


def test_the_commands_of_the_three_uses_run_in_their_order(quick, leakbench):
    commands = [shlex.split(line) for line in re.findall(r"^    leakbench (.*)$", USES, re.MULTILINE)]
    assert [words[0] for words in commands] == ["claims", "check", "report", "leaderboard"]
    for words in commands:
        done = leakbench(*(words[: words.index(">")] if ">" in words else words))
        assert (done.code, done.err) == (0, ""), words
        if ">" in words:
            (quick / words[-1]).write_text(done.out)
    for name in ("tables/tables.tex", "figures/tradeoff_1col.pdf", "report.html"):
        assert (quick / "runs" / "quick" / name).is_file()
    assert (quick / "site" / "index.html").is_file()

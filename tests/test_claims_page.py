"""docs/claims.md: its claims are read, its table names every key, and its commands follow one another."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from leakbench.reports.claims.claim import Claim, read_claims

PAGE = (Path(__file__).parent.parent / "docs" / "claims.md").read_text()


def test_its_claims_are_read_and_every_key_stands_in_its_table(tmp_path):
    (block,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "claims.toml").write_text(block)
    assert len(read_claims(tmp_path / "claims.toml")) == 2
    named = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))))
    assert set(Claim.model_fields) <= named


def test_its_commands_run_in_their_order(again, leakbench, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    again.out.rename(tmp_path / "runs" / "quick")
    commands = [shlex.split(line) for line in re.findall(r"^    leakbench (.*)$", PAGE, re.MULTILINE)]
    assert [words[:2] for words in commands] == [["claims", "init"], ["check", "claims"], ["check", "claims"]]
    assert commands[0][-2:] == [">", "claims.toml"]  # which the next command reads
    for words in commands:
        done = leakbench(*words[: words.index(">") if ">" in words else None])
        assert (done.code, done.err) == (0, ""), words
        if words[:2] == ["claims", "init"]:
            (tmp_path / "claims.toml").write_text(done.out)
    assert "0 broken, 0 undecided" in done.out and (tmp_path / "claims.xml").is_file()


@pytest.mark.parametrize("word", ["holds", "broken", "undecided"])
def test_every_outcome_is_explained(word):
    assert re.search(rf"^\| `{word}` \| .+ \|$", PAGE, re.MULTILINE)

"""Flags: one meaning each, and every flag that the harness, an attack or a defense raises is in the list."""

from __future__ import annotations

import json
import re
from pathlib import Path

from leakbench.results.flags import Flag, explain_flag
from leakbench.results.run_folder import RunFolder

ROOT = Path(__file__).parents[3]


def test_a_flag_is_its_name_wherever_strings_go():
    assert Flag.FEW_NEGATIVES == "few-negatives" and f"{Flag.FEW_NEGATIVES}" == "few-negatives"
    assert json.dumps([Flag.INERT]) == '["inert"]' and {"inert"} == {Flag.INERT}
    assert [flag for flag in Flag if flag != flag.name.lower().replace("_", "-")] == []


def test_every_flag_has_a_meaning_of_its_own_in_one_line():
    meanings = [flag.meaning for flag in Flag]
    assert len(set(meanings)) == len(meanings) >= 25
    assert [text for text in meanings if "\n" in text or "`" in text or text.endswith(".")] == []


def test_a_number_beside_the_name_does_not_hide_the_meaning():
    assert explain_flag("weak-delta=0.01") == Flag.WEAK_DELTA.meaning == explain_flag("weak-delta")
    assert "see the attack or defense that raised it" in explain_flag("made-up")


def test_the_flags_of_rows_that_mean_nothing_say_that_they_rank_nothing():
    assert "bit for bit" in Flag.INERT.meaning and "untrained" in Flag.AS_UNTRAINED.meaning
    assert all("ranks nothing" in flag.meaning for flag in (Flag.INERT, Flag.AS_UNTRAINED))


def test_every_flag_of_the_committed_results_is_known():
    runs = [RunFolder(path.parent) for path in (ROOT / "docs" / "results").glob("*/plan.json")]
    raised = {flag.partition("=")[0] for run in runs for record in run.records for flag in record.flags}
    assert raised and raised <= set(Flag)


def test_every_flag_is_raised_somewhere():
    """A flag that no code names any more would be explained for nothing."""
    files = [
        path for folder in ("leakbench", "attacks", "defenses", "reports") for path in (ROOT / folder).rglob("*.py")
    ]
    code = "".join(path.read_text() for path in files if path.name != "flags.py")
    unnamed = {flag for flag in Flag if not re.search(rf"""["{{]{flag}[="]|Flag[.]{flag.name}""", code)}
    assert unnamed == set()


def test_every_flag_is_explained_in_the_docs_as_in_reports():
    page = (ROOT / "docs" / "statistics.md").read_text()
    assert [flag for flag in Flag if f"| `{flag}` | {flag.meaning} |" not in page] == []

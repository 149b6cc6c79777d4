"""Results of a stranger whose every word is hostile: nothing of it reaches a terminal, a page or a table as it is."""

from __future__ import annotations

import json
import unicodedata

import pytest

from leakbench.results.record import Record
from leakbench.results.run_plan import RunPlan

WORDS = "\x1b[31mred\x07\x9b2J\u202eback [/b] [link=x]| `x` ![x](http://x.invalid/a.png) "
WORDS += "<script>alert(1)</script><img src=x onerror=alert(1)>"
SHORT = "[/b] <script>alert(1)</script>"


def leaves(content, path=()):
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, inner in items:
        if isinstance(inner, str):
            yield (*path, key)
        yield from leaves(inner, (*path, key))


def hostile(content, check, keep=()):
    """The same with hostile words wherever `check` lets them pass, long ones if it can be."""
    for path in list(leaves(content)):
        *above, key = path
        here = content
        for step in above:
            here = here[step]
        before = here[key]
        for words in () if path[0] in keep else (WORDS, SHORT):
            here[key] = words
            try:
                check(content)
                break
            except ValueError:
                here[key] = before
    return content


@pytest.fixture
def poisoned(again):
    """The finished tiny run, in which all that no table needs to tell rows apart is hostile."""
    from leakbench.results.record_files import CHECKSUM

    plan = again.out / "plan.json"
    content = json.loads(plan.read_text())
    names = ("points", "settings", "attacks", "headline")
    plan.write_text(json.dumps(hostile(content, RunPlan.model_validate, names)))
    for path in sorted((again.out / "records").glob("*.json")):
        record = json.loads(path.read_text())
        record.pop(CHECKSUM)
        record["info"] |= {"skipped": WORDS, "labels": {WORDS: WORDS}}
        if record["attack"] == "pia":
            record |= {"metrics": [], "flags": ["not-applicable"], "arrays": ""}
        identity = ("defense", "point", "attack", "access", "family", "arrays", "metrics", "schema_version")
        path.write_text(json.dumps(hostile(record, Record.model_validate, identity)))
    return again.out


def is_plain(text):
    """True without characters that move a cursor, colour a terminal or turn what follows around."""
    return not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text if c not in "\n\t")


COMMANDS = {
    "report": ("report", "{run}", "--format", "terminal,csv,md,html,jsonl,model-card,tex", "--wide"),
    "short": ("report", "{run}", "--format", "terminal"),
    "page": ("report", "{run}", "--page", "{run}/page.md"),
    "show": ("show", "{run}/records/baseline__pia__DENOISER__seed0.json"),
    "claims": ("claims", "init", "{run}"),
    "diff": ("diff", "{run}", "{run}", "--markdown", "{run}/diff.md"),
    "leaderboard": ("leaderboard", "{run}", "--out", "{run}/site"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_words_of_a_stranger_are_shown_as_letters(poisoned, leakbench, command):
    outcome = leakbench(*(word.format(run=poisoned) for word in COMMANDS[command]))
    assert outcome.code in (0, 1, 3), outcome.err
    assert is_plain(outcome.out) and is_plain(outcome.err)
    for path in poisoned.rglob("*"):
        if path.suffix in (".md", ".html", ".tex"):
            text = path.read_text()
            assert is_plain(text), path
            if path.name != "privacy.md":  # which shows the command as code: tests/reports/site/test_model_card.py
                assert "<script>alert(1)" not in text and "<img src=x" not in text, path
                assert "](http" not in text or path.suffix == ".html", path

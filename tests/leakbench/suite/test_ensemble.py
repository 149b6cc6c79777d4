"""A frozen, versioned set of attacks: a suite takes it over by name, and says when it is no longer what was frozen."""

import json

import pytest

from leakbench.runtime import registry
from leakbench.suite.ensemble import format_ensemble, name_frozen
from leakbench.suite.load import load

FROZEN = """
name = "frozen"
version = "3"
dataset = "digits"
[[defense]]
name = "untrained"
[[attack]]
name = "pia"
t = 100
[[attack]]
name = "loss"
"""
OWN = """
name = "own"
ensemble = "frozen"
dataset = "digits"
[[defense]]
name = "untrained"
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "frozen.toml").write_text(FROZEN)
    (tmp_path / "own.toml").write_text(OWN)
    known = registry._suites() | {"frozen": [tmp_path / "frozen.toml"]}
    monkeypatch.setattr(registry, "_suites", lambda: known)
    return str(tmp_path / "own.toml")


def test_a_suite_takes_over_the_attacks_and_says_whose_they_are(own):
    suite = load(own)
    assert list(suite.attacks) == ["pia", "loss"] and suite.attacks["pia"].t == 100
    assert format_ensemble(suite.file) == "frozen 3" == format_ensemble(load("frozen").file)
    assert format_ensemble(load("quick").file) == ""


def test_what_was_changed_or_added_is_said(own, tmp_path):
    changed = load(own, ("attack.pia.t=300",))
    assert changed.attacks["pia"].t == 300 and format_ensemble(changed.file) == "frozen 3, changed"
    (tmp_path / "own.toml").write_text(OWN + '[[attack]]\nname = "secmi"\n')
    assert format_ensemble(load(own).file) == "frozen 3 and 1 more attack"
    (tmp_path / "other.toml").write_text(FROZEN.replace('"frozen"', '"mine"'))
    assert format_ensemble(load(str(tmp_path / "other.toml")).file) == "mine 3"
    assert load(own).identity != changed.identity


@pytest.mark.parametrize(
    ("kept", "title"),
    [
        ([{"name": "loss"}], "frozen 3, as far as it applies"),
        ([], "frozen 3, as far as it applies"),
        ([{"name": "loss"}, {"name": "secmi"}], "frozen 3, as far as it applies, and 1 more attack"),
        ([{"name": "secmi"}, {"name": "loss"}, {"name": "pia", "t": 300}], "frozen 3, changed"),
        ([{"name": "pia", "t": 300}], "frozen 3, changed"),
    ],
)
def test_a_set_that_lacks_attacks_is_not_the_set_that_papers_compare_by(own, kept, title):
    file = load(own).file.model_copy(update={"attack": tuple(kept)})
    assert format_ensemble(file) == title and name_frozen(file) == ("", [])


@pytest.mark.parametrize(
    ("value", "words"),
    [("3", "it should be the name of a suite"), ('"quick"', "has no `version`"), ('"frozn"', "unknown suite 'frozn'")],
)
def test_bad_input_is_one_line(leakbench, own, tmp_path, value, words):
    (tmp_path / "own.toml").write_text(OWN.replace('"frozen"', value))
    found = leakbench("run", own, "--plan")
    assert found.code == 2 and words in found.err and len(found.err.splitlines()) == 1


SMALLER = ("--set", "quality.samples=20", "--set", "quality.features=pixels")


def test_the_plan_of_a_run_holds_it(leakbench, own, tmp_path):
    assert leakbench("run", own, "--out", tmp_path / "run", *SMALLER, "--workers", 1).code == 0
    assert json.loads((tmp_path / "run" / "plan.json").read_text())["ensemble"] == "frozen 3"

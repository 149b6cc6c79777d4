"""Frozen suites: what a version has asked once it asks for ever, and a suite says what it changed of it."""

import hashlib
import json

import pytest

from leakbench.runtime import registry
from leakbench.runtime.toml_file import read_toml
from leakbench.suite.ensemble import format_ensemble, name_frozen
from leakbench.suite.frozen import list_changes
from leakbench.suite.load import load

# Raise `version` (of a board: write another suite, board-NAME-2), keep what was as NAME-VERSION, and add a line; never
# change a digest.
FROZEN = {
    ("strongest", "3"): "43d2bdb230fda38f",
    ("strongest-2", "2"): "6fdd82db2b09a154",
    ("strongest-1", "1"): "95f9bc7e15ffc2d0",
    ("standard", "2"): "786fc76669be5681",
    ("standard-1", "1"): "65d0295dbe69a31d",
    ("board-digits-1", "1"): "2e6cf1f618f652a5",
    ("board-cifar10-1", "1"): "bc1b860af811ab23",
}


SETS = ("strongest", "strongest-1", "strongest-2", "standard", "standard-1")  # of attacks: the rest is an example


def digest(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@pytest.mark.parametrize(("name", "version"), FROZEN)
def test_what_is_frozen_has_not_changed(name, version):
    table = read_toml(registry.suite_path(name))
    assert table["version"] == version
    frozen = table["attack"] if name in SETS else {key: table[key] for key in table if key != "summary"}
    assert digest(frozen) == FROZEN[name, version]


def test_every_suite_with_a_version_is_held_by_that_test():
    versions = {(name, read_toml(path).get("version")) for name, path in registry.suite_files().items()}
    assert {one for one in versions if one[1]} == set(FROZEN)


@pytest.mark.parametrize("name", ["board-digits-1", "board-cifar10-1"])
def test_a_board_can_be_loaded_has_both_controls_and_is_named_whole(name):
    suite = load(name)
    assert "blind" in suite.attacks and "control" in {point.role for point in suite.points}
    assert name_frozen(suite.file) == (name, [])
    assert format_ensemble(suite.file) == name
    assert "beside" in read_toml(registry.suite_path(name))["quality"]


def test_the_digits_board_has_the_attacks_of_strongest_one():
    board, strongest = (read_toml(registry.suite_path(name)) for name in ("board-digits-1", "strongest-1"))
    assert board["attack"] == strongest["attack"]


@pytest.mark.parametrize(
    ("old", "new", "added"),
    [
        ("strongest-1", "strongest-2", ["timestep_ensemble", "loss-50", "pia-100", "sima-50", "secmi-300"]),
        ("strongest-2", "strongest", ["transformed_copy", "carlini_tiled"]),
    ],
)
def test_a_version_is_the_one_before_and_more(old, new, added):
    """So that whoever has measured an earlier version measures the new attacks alone."""
    before, after = (read_toml(registry.suite_path(name))["attack"] for name in (old, new))
    assert [entry for entry in after if entry in before] == before
    assert [entry.get("id", entry["name"]) for entry in after if entry not in before] == added


def test_the_attacks_of_a_run_tell_the_version_of_its_set(tmp_path):
    """A plan of the days of version 1 says ensemble = "strongest", and has the attacks of version 1."""
    one = load("strongest-1").file
    assert (one.name, name_frozen(one)[0]) == ("strongest", "strongest 1")
    old = one.model_copy(update={"name": "mine", "ensemble": "strongest", "version": ""})
    assert format_ensemble(old) == "strongest 1"
    some = old.model_copy(update={"attack": tuple(entry for entry in one.attack if entry["name"] != "gsa1")})
    assert format_ensemble(some) == "strongest 1, as far as it applies"
    pinned = tmp_path / "pinned.toml"
    pinned.write_text('name = "mine"\ndataset = "digits"\nensemble = "strongest-1"\n[[defense]]\nname = "baseline"\n')
    assert format_ensemble(load(str(pinned)).file) == "strongest 1"


def own(tmp_path, change):
    """The digits board as a submitter has it, after a change of its text."""
    path = tmp_path / "mine.toml"
    path.write_text(change(registry.suite_path("board-digits-1").read_text()))
    return load(str(path)).file


def test_a_submission_may_add_defenses_and_attacks(tmp_path):
    added = '\n[[defense]]\nname = "early_stop"\n\n[[attack]]\nname = "likelihood"\n'
    file = own(tmp_path, lambda text: text + added)
    assert name_frozen(file) == ("board-digits-1", [])
    assert list_changes(load("quick").file) is None


CHANGES = {
    "seeds": (lambda text: text.replace("seeds = [0, 1]", "seeds = [0]"), "seeds is [0], not [0, 1]"),
    "split": (lambda text: text.replace("seed = 1 ", "seed = 2 "), "split is"),
    "attack": (lambda text: text.replace("shadows = 6", "shadows = 2"), "attack 'gsa1' is changed or left out"),
    "defense": (lambda text: text.replace("rate = 0.2", "rate = 0.3"), "defense 'dropout' is changed or left out"),
    "control": (
        lambda text: text.replace('[[defense]]\nname = "untrained"\n', ""),
        "defense 'untrained' is changed or left out",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_board_is_no_frozen_suite_and_says_why(tmp_path, what):
    change, words = CHANGES[what]
    file = own(tmp_path, change)
    title, changes = name_frozen(file)
    assert title == "" and format_ensemble(file) == "board-digits-1, changed"
    assert len(changes) == 1 and words in changes[0]


def test_a_frozen_ensemble_in_a_suite_of_ones_own_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    text = 'name = "mine"\ndataset = "digits"\nensemble = "strongest"\n[[defense]]\nname = "baseline"\n'
    path.write_text(text)
    assert name_frozen(load(str(path)).file) == ("strongest 3", [])
    assert name_frozen(load(str(path), ("attack.pia.t=300",)).file) == ("", [])
    assert name_frozen(load("strongest", ("split.seed=1",)).file) == ("strongest 3", [])

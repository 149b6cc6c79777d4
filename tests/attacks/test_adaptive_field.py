"""An attack that knows the defense says so in a field that its records carry; reports read nothing off its name."""

from __future__ import annotations

from importlib.metadata import entry_points


def test_attacks_that_know_a_defense_say_so():
    found = {entry.name: entry.load() for entry in entry_points(group="leakbench.attacks")}
    ours = {name: attack for name, attack in found.items() if attack.__module__.startswith("leakbench.attacks.")}
    assert len(ours) > 30
    adaptive = {name for name, attack in ours.items() if attack.adaptive}
    assert adaptive == {name for name, attack in ours.items() if ".adaptive." in attack.__module__} != set()

"""What the plan says of a run's attacks: the method behind an id, which attacks know the defense, which set was run."""

from __future__ import annotations

from leakbench.results.records import RunFolder

_KNOWS = "adaptive_"  # how the names of attacks begin that know which defense they are up against


def methods(run: RunFolder) -> dict[str, str]:
    """The method of each attack, by the id that the suite gave it; of old plans, that say nothing of it, none."""
    entries = run.plan.get("settings", {}).get("attack", [])
    return {str(entry.get("id", entry.get("name"))): str(entry.get("name")) for entry in entries}


def knows_the_defense(run: RunFolder, attack: str) -> bool:
    """Whether an attack was made against the defense, and knows how that works."""
    return attack.startswith(_KNOWS) or methods(run).get(attack, "").startswith(_KNOWS)


def ensemble(run: RunFolder) -> str:
    """Name and version of the frozen set of attacks that was run; empty if it was none."""
    return str(run.plan.get("ensemble") or "")

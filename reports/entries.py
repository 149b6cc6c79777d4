"""What the plan says of a run's attacks: the method behind an id, which attacks know the defense, which set was run."""

from __future__ import annotations

from leakbench.results.run_folder import RunFolder


def methods(run: RunFolder) -> dict[str, str]:
    """The method of each attack, by the id that the suite gave it; of old plans, that say nothing of it, none."""
    return run.plan.methods


def ensemble(run: RunFolder) -> str:
    """Name and version of the frozen set of attacks that was run; empty if it was none."""
    return run.plan.ensemble

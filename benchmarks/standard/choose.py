"""Chooses the set `standard` from records: strong for its cost. Prints its members and a table of strength and cost.

    python -m leakbench.benchmarks.standard.choose RUN...

Each RUN is the folder of a finished run: of candidates.toml beside this file, on one data set, and of any other suite
with some of its attacks. Of these only releases without a defense count, and no attack that trained shadow models. The
rule:

- The strength of a membership attack is the lower end of the 95 % interval of its AUC, with the sign that calibration
  images gave it.
- In the set is every attack that asks the network at most `FEW` times an image, a tenth of what one sample takes in 50
  steps. Those that read images or samples alone ask it nothing.
- Then, greedily, the attack that brings the most cases within reach for its calls of the network an image, until all
  are. A case is a release at an access level, with the attacks that need the level or less. Within reach is a set whose
  strongest attack is at most `MARGIN` weaker than the strongest of all candidates.

An attack is asked about at its least level. As a check, the set is chosen once more without each data set, and the most
that it then misses there is printed; and for the frozen sets as they are, the most that each misses anywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from leakbench.results.record import ACCESS_LEVELS, Record
from leakbench.results.run_folder import RunFolder
from leakbench.suite.audit_request.attack_sets import FROZEN
from leakbench.suite.ensemble import read_frozen_attacks

MARGIN = 0.02
FEW = 5
LEVELS = ACCESS_LEVELS[1:]
FAMILIES = ("membership", "replication")  # that an audit of a given model reads


@dataclass(frozen=True)
class Case:
    """A release at an access level: strengths of the attacks that need it or less, by id."""

    run: str
    point: str
    level: str
    strengths: dict[str, float]

    def missed(self, chosen: Collection[str]) -> float:
        """By how much the strongest of a set is weaker than the strongest of all."""
        ours = [self.strengths[name] for name in chosen if name in self.strengths]
        return max(self.strengths.values()) - max(ours, default=0.0)


def strength(record: Record) -> float | None:
    """Lower end of the interval of the oriented AUC; None of what is no measured membership attack."""
    metric = record.metric("oriented_auc") or record.metric("auc")
    return None if record.family != "membership" or metric is None else metric.ci_low


def select(run: RunFolder) -> list[Record]:
    """The records of releases without a defense, of attacks that an audit of a given model can run."""
    plain = {point.point for point in run.plan.points if point.role == "baseline"}
    return [
        one
        for one in run.records
        if one.point in plain and one.family in FAMILIES and not one.info.get("shadow_models") and one.metrics
    ]


def read_cases(runs: dict[str, RunFolder]) -> list[Case]:
    """All cases of runs, by name."""
    found = []
    for name, run in runs.items():
        records = select(run)
        for point in dict.fromkeys(record.point for record in records):
            for level in LEVELS:
                reached = LEVELS[: LEVELS.index(level) + 1]
                allowed = [one for one in records if one.point == point and one.access in reached]
                strengths = {one.attack: value for one in allowed if (value := strength(one)) is not None}
                if strengths:
                    found.append(Case(name, point, level, strengths))
    return found


def read_calls(runs: dict[str, RunFolder]) -> dict[str, float]:
    """Network calls an image of each attack: the most of any run."""
    found: dict[str, float] = {}
    for run in runs.values():
        for record in select(run):
            found[record.attack] = max(found.get(record.attack, 0.0), record.queries)
    return found


def choose(cases: list[Case], calls: dict[str, float]) -> list[str]:
    """The set, in the order in which its members were taken."""
    chosen = sorted(name for name, count in calls.items() if count <= FEW)
    while short := [case for case in cases if case.missed(chosen) > MARGIN]:
        gains = {
            name: sum(case.missed([*chosen, name]) <= MARGIN for case in short) / count
            for name, count in calls.items()
            if name not in chosen
        }
        chosen.append(max(sorted(gains), key=gains.__getitem__))
    return chosen


def format_table(runs: dict[str, RunFolder], calls: dict[str, float], chosen: list[str]) -> list[str]:
    """A row an attack, the set first: calls an image, and AUC with its interval at each release."""
    found = [(name, record) for name, run in runs.items() for record in select(run) if strength(record) is not None]
    releases = list(dict.fromkeys((name, record.point) for name, record in found))
    cells = {(name, record.point, record.attack): record for name, record in found}
    names = [*chosen, *sorted((name for name in calls if name not in chosen), key=calls.__getitem__)]
    measured = [name for name in names if any((*release, name) in cells for release in releases)]
    rows = ["| attack | calls an image | " + " | ".join(" ".join(one) for one in releases) + " |"]
    rows.append("|---" * (2 + len(releases)) + "|")
    for name in measured:
        aucs = [_format_auc(cells.get((*release, name))) for release in releases]
        title = f"**`{name}`**" if name in chosen else f"`{name}`"
        rows.append(f"| {title} | {calls[name]:.0f} | " + " | ".join(aucs) + " |")
    return rows


def _tell_misses(name: str, cases: list[Case]) -> str:
    """The case in which a frozen set misses most, and the attack that it misses there."""
    members = {entry.get("id", entry["name"]) for entry in read_frozen_attacks(name, __name__)}
    worst = max(cases, key=lambda case: case.missed(members))
    best = max(worst.strengths, key=worst.strengths.__getitem__)
    where = f"at {worst.level} on {worst.run} {worst.point}: {best}"
    return f"{name}, as it is frozen: misses at most {worst.missed(members):.3f} ({where})"


def _format_auc(record: Record | None) -> str:
    metric = record and (record.metric("oriented_auc") or record.metric("auc"))
    return f"{metric.value:.2f} [{metric.ci_low:.2f}, {metric.ci_high:.2f}]" if metric else ""


def main(folders: list[str]) -> None:
    """Print the set, the table and the check."""
    if not folders:
        sys.exit(__doc__)
    runs = {Path(folder).name: RunFolder(Path(folder)) for folder in folders}
    cases, calls = read_cases(runs), read_calls(runs)
    chosen = choose(cases, calls)
    print("standard:", ", ".join(chosen))
    print(f"calls an image: {sum(calls[name] for name in chosen):.0f} of {sum(calls.values()):.0f}\n")
    print("\n".join(format_table(runs, calls, chosen)) + "\n")
    for left in runs:
        others = choose([case for case in cases if case.run != left], calls)
        missed = max(case.missed(others) for case in cases if case.run == left)
        dear = ", ".join(name for name in others if calls[name] > FEW)
        print(f"chosen without {left}: misses at most {missed:.3f} there ({dear})")
    for name in FROZEN:
        print(_tell_misses(name, cases))


if __name__ == "__main__":
    main(sys.argv[1:])

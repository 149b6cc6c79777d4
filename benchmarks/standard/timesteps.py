"""Compares ways of asking at several timesteps with the ensemble `strongest`, version 1, at an equal family-wise level.

    python -m leakbench.benchmarks.standard.timesteps RUN...

Each RUN is the folder of a finished run of timesteps.toml beside this file. Every set below is one family of tests
(leakbench.statistics.Family, as in reports): more members widen the interval of each. Signs are those that calibration
images gave, and reported images chose nothing. For each release and set: the largest lower bound of an AUC, the attack
that has it, its AUC and TPRs, and whether the set says "leaks".

- version 1: what of it asks the denoiser without shadow models; each statistic at one timestep.
- second: version 1, and each statistic at a second timestep, `SECOND`.
- each: version 1, and each statistic at each timestep.
- sum: version 1, and the sum of the standardised logarithms of all, each with its sign from calibration images.
- largest: version 1, and the largest of these.
- regression: version 1, and `timestep_ensemble`, a regression of calibration labels on the same logarithms.
- version 2: version 1, `timestep_ensemble`, and each statistic at a second timestep.
- all: version 1, `timestep_ensemble`, and each statistic at each timestep.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leakbench.api import Access, Attack, MembershipAttack
from leakbench.models.schedule import Schedule
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.runner.estimate.dry_run import count_membership_calls
from leakbench.runtime import registry
from leakbench.statistics import Family, auc, tpr_at_fpr
from leakbench.statistics.auc import influence
from leakbench.statistics.groups import Sides
from leakbench.statistics.paired_rates import tpr_influence
from leakbench.suite.ensemble import read_frozen_attacks

VERSION_1 = ("loss-100", "secmi-100", "pia-200", "pian", "sima-100", "pfami", "noise_aggregation", "cdi")
STATISTICS, TIMESTEPS = ("loss", "pia", "sima", "secmi"), (20, 50, 100, 200, 300)
EACH = tuple(f"{name}-{t}" for name in STATISTICS for t in TIMESTEPS)
SECOND = ("loss-50", "pia-100", "sima-50", "secmi-300")
SETS = {
    "version 1": VERSION_1,
    "second": (*VERSION_1, *SECOND),
    "each": (*VERSION_1, *EACH),
    "sum": (*VERSION_1, "sum"),
    "largest": (*VERSION_1, "largest"),
    "regression": (*VERSION_1, "timestep_ensemble"),
    "version 2": (*VERSION_1, *SECOND, "timestep_ensemble"),
    "all": (*VERSION_1, *EACH, "timestep_ensemble"),
}
NAMES = ("member_scores", "nonmember_scores", "calibration_member_scores", "calibration_nonmember_scores")
RATES = (0.01, 0.1)  # the second is in the family

Scores = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Found:
    """What a set finds on a release: the attack with the largest lower bound `least` of the AUC, and its numbers."""

    attack: str
    least: float
    area: float
    rates: tuple[float, ...]
    leaks: bool


def read_releases(run: RunFolder) -> dict[str, dict[str, Scores]]:
    """Scores of the reported members and nonmembers by attack, oriented, for each release; "sum" and "largest" too."""
    arrays: dict[str, dict[str, list[np.ndarray]]] = {}
    for record in run.records:
        if record.family == "membership" and record.access == "DENOISER":
            arrays.setdefault(record.point, {})[record.attack] = _four(run, record)
    return {
        point: {name: _orient(four) for name, four in found.items()} | _join(found) for point, found in arrays.items()
    }


def _four(run: RunFolder, record: Record) -> list[np.ndarray]:
    found = run.arrays(record)
    return [found[name] for name in NAMES]


def _orient(four: list[np.ndarray]) -> Scores:
    sign = 1.0 if auc(four[2], four[3]).value >= 0.5 else -1.0
    return sign * four[0], sign * four[1]


def _join(found: dict[str, list[np.ndarray]]) -> dict[str, Scores]:
    parts = [np.log(np.maximum([-found[name][part] for name in EACH], 1e-30)) for part in range(len(NAMES))]
    known = np.concatenate(parts[2:], axis=1)
    mean, deviation = known.mean(axis=1)[:, None], known.std(axis=1)[:, None]
    member, nonmember, inside, outside = ((part - mean) / deviation for part in parts)
    sign = np.sign(inside.mean(axis=1) - outside.mean(axis=1))[:, None]
    return {
        "sum": ((sign * member).sum(axis=0), (sign * nonmember).sum(axis=0)),
        "largest": ((sign * member).max(axis=0), (sign * nonmember).max(axis=0)),
    }


def judge(scores: dict[str, Scores]) -> Found:
    """The verdict of a family of attacks at 95 %, by AUC (two-sided) and by TPR at the largest rate (one-sided)."""
    shares = []
    for member, nonmember in scores.values():
        count = member.size + nonmember.size
        sides = Sides(np.arange(member.size), np.arange(member.size, count), count)
        shares += [influence(member, nonmember, sides), tpr_influence(member, nonmember, RATES[-1], sides)]
    level = Family(np.array(shares), [False, True] * len(scores)).level
    areas = {name: auc(*both, level=level) for name, both in scores.items()}
    least = {name: max(area.low, 1 - area.high) for name, area in areas.items()}
    rate = max(tpr_at_fpr(*both, RATES[-1], level).estimate.low for both in scores.values())
    attack = max(sorted(least), key=least.__getitem__)
    area = max(areas[attack].value, 1 - areas[attack].value)
    rates = tuple(tpr_at_fpr(*scores[attack], one).estimate.value for one in RATES)
    return Found(attack, least[attack], area, rates, least[attack] > 0.5 or rate > RATES[-1])


def compare(scores: dict[str, Scores]) -> dict[str, Found]:
    """What each set finds on one release."""
    return {title: judge({name: scores[name] for name in names}) for title, names in SETS.items()}


def format_table(rows: dict[str, dict[str, Found]]) -> list[str]:
    """A row a release and one of means: for each set the lower bound, with attack and AUC; then all means."""
    lines = ["| release | " + " | ".join(SETS) + " |", "|---" * (1 + len(SETS)) + "|"]
    for release, found in rows.items():
        cells = [f"{one.least:.3f} ({one.attack} {one.area:.2f})" for one in found.values()]
        lines.append(f"| {release} | " + " | ".join(cells) + " |")
    lines += ["", "| set | lower bound | AUC | TPR at 1 % | TPR at 10 % | said to leak |", "|---" * 6 + "|"]
    for title in SETS:
        every = [found[title] for found in rows.values()]
        means = np.mean([(one.least, one.area, *one.rates) for one in every], axis=0)
        numbers = " | ".join(f"{mean:.3f}" for mean in means)
        lines.append(f"| {title} | {numbers} | {sum(one.leaks for one in every)} of {len(every)} |")
    return lines


def count_calls(ensemble: str) -> float:
    """Distinct network calls an image by which all attacks of a frozen set score that ask the denoiser without shadow
    models and know no defense."""
    attacks = []
    for entry in read_frozen_attacks(ensemble, "timesteps"):
        parameters = {key: value for key, value in entry.items() if key not in ("name", "id")}
        attack: Attack = registry.find("attacks", entry["name"])(**parameters)
        if isinstance(attack, MembershipAttack) and attack.access is Access.DENOISER:
            attacks += [] if attack.auxiliary_models() or attack.adaptive else [attack]
    return count_membership_calls(attacks, (1, 16, 16), 0, Schedule())[0]


def main(folders: list[str]) -> None:
    """Print the table of all runs together."""
    if not folders:
        sys.exit(__doc__)
    rows = {}
    for folder in folders:
        for point, scores in read_releases(RunFolder(Path(folder))).items():
            rows[f"{Path(folder).name} {point}"] = compare(scores)
    print("\n".join(format_table(rows)))
    for title, ensemble in (("version 1", "strongest-1"), ("version 2", "strongest-2")):
        print(f"\n{title}: {count_calls(ensemble):.0f} distinct network calls an image")


if __name__ == "__main__":
    main(sys.argv[1:])

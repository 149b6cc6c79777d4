"""Prints whether attacks keep their order on splits on which nothing was chosen.

    python -m leakbench.benchmarks.standard.splits RUN...

Each RUN is the folder of a finished run of splits.toml beside this file, at a `split.seed` of its own. For each claim
of `ORDER` and each run: the AUC of the attack that should be the stronger, the largest AUC of those that should be
weaker, and their paired difference with its 95 % interval (DeLong). Signs are those that calibration images gave.
"""

from __future__ import annotations

import sys
from pathlib import Path

from leakbench.reports.reading.scores import compare_paired
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder

_FIXED = ("loss", "secmi", "pia", "sima")
ORDER = (  # release, the stronger attack, the weaker ones
    ("baseline", "timestep_ensemble", _FIXED),
    ("cpsample", "timestep_ensemble", _FIXED),
    ("cpsample", "adaptive_cpsample", _FIXED),
    ("cpsample", "adaptive_cpsample_learned", _FIXED),
    ("amg", "timestep_ensemble", _FIXED),
    ("amg", "adaptive_amg", _FIXED),
    ("attribute_switching", "adaptive_switching", ("attribute_output",)),
)


def find_record(run: RunFolder, point: str, attack: str) -> Record:
    """The record of an attack on what a release answers, at the least access that it was measured at."""
    found = [one for one in run.records if (one.point, one.attack) == (point, attack) and one.access != "WEIGHTS"]
    return found[0]


def read_area(record: Record) -> float:
    """The AUC, with the sign that calibration images gave where there are some."""
    metric = record.metric("oriented_auc") or record.metric("attribute_auc")
    assert metric is not None and metric.value is not None
    return metric.value


def compare(run: RunFolder, point: str, stronger: str, weaker: tuple[str, ...]) -> str:
    """A cell: both AUCs, who is the strongest of the weaker ones, and the difference."""
    first = find_record(run, point, stronger)
    second = max((find_record(run, point, name) for name in weaker), key=read_area)
    cell = f"{read_area(first):.2f}, {second.attack} {read_area(second):.2f}"
    paired = compare_paired(run, first, second) if first.family == "membership" else None
    if paired is None:
        return cell
    found = paired.difference
    return f"{cell}: {found.value:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def main(folders: list[str]) -> None:
    """Print a row a claim, a column a run."""
    if not folders:
        sys.exit(__doc__)
    runs = {Path(folder).name: RunFolder(Path(folder)) for folder in folders}
    print("| release | attack | " + " | ".join(runs) + " |\n" + "|---" * (2 + len(runs)) + "|")
    for point, stronger, weaker in ORDER:
        cells = [compare(run, point, stronger, weaker) for run in runs.values()]
        print(f"| {point} | `{stronger}` | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])

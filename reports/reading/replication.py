"""Results of the replication attacks at a point, and published thresholds that real images pass."""

from __future__ import annotations

import numpy as np

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .attack_results import AttackResult, list_results
from .selection import copy_attacks

AIM = 0.01  # share of real images that a calibrated threshold may take for copies


def list_copy_results(run: RunFolder, point: PlannedPoint) -> list[AttackResult]:
    """Results of all replication attacks at a point, those of the trade-off first."""
    first = [*copy_attacks(run)]
    found = list_results(run, point, "replication")
    return sorted(found, key=lambda row: first.index(row.attack) if row.attack in first else len(first))


def separates_nothing(row: AttackResult, published: bool = False) -> bool:
    """True if every sample and every real image lies beyond the threshold (the calibrated or the published one)."""
    which = "_published" if published else ""
    found = [row.aggregate(f"copy_rate{which}{of}") for of in ("", "_null")]
    return all(one is not None and one.summary.mean == 1 for one in found)


def name_transforms(record: Record, bits: np.ndarray) -> list[str]:
    """In words, in what each sample (N,) differs from its training image: "mirror, light"; "as is" for nothing."""
    kinds = record.info.get("transforms") or []
    found = ([kind for bit, kind in enumerate(kinds) if some >> bit & 1] for some in bits.tolist())
    return [", ".join(told) or "as is" for told in found]


def is_suspect(row: AttackResult) -> bool:
    """True if the published threshold takes more than 1 % of real images for copies, beyond its interval."""
    null = row.aggregate("copy_rate_published_null")
    return null is not None and null.summary.low > AIM

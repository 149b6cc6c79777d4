"""What can be known of a submission's distances without the features of real images, which no run holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from leakbench.interface.submission.findings import Findings
from leakbench.results.record import QUALITY, Record
from leakbench.statistics import clopper_pearson

_ROUNDING = 1e-6
_FLOOR = "frechet_floor"  # training against held-out images: the same whatever the release


def check_moments(record: Record, arrays: Mapping[str, np.ndarray], findings: Findings) -> None:
    """Check that moments are those of samples, and that the intervals of shares follow from their values."""
    where = f"arrays/{record.stem}.npz"
    mean, covariance = (arrays.get(name, np.empty(0)) for name in ("mean", "covariance"))
    fits = mean.ndim == 1 and mean.size > 0 and covariance.shape == (mean.size, mean.size)
    if not fits or not np.isfinite(covariance).all() or not np.allclose(covariance, covariance.T):
        findings.disagree(f"{where}: its moments are not those of any features")
    elif np.diag(covariance).min() < -_ROUNDING:
        findings.disagree(f"{where}: its covariance has a negative variance")
    for name in ("precision", "recall"):
        found = record.metric(name)
        if found is None or found.value is None or found.n < 1:
            continue
        follows = clopper_pearson(min(max(round(found.value * found.n), 0), found.n), found.n)
        told = (found.value, found.ci_low, found.ci_high)
        if None in told or not np.allclose(told, (follows.value, follows.low, follows.high), atol=_ROUNDING):  # type: ignore[arg-type]
            findings.disagree(
                f"records/{record.stem}.json: {name}: its value and interval are of no share of {found.n}"
            )


def check_floors(records: Sequence[Record], findings: Findings) -> None:
    """Check that all releases have one floor at a seed: real images against real ones."""
    first: dict[int, float | None] = {}
    for record in records:
        floor = record.metric(_FLOOR) if record.attack == QUALITY else None
        if floor is not None and first.setdefault(record.seed, floor.value) != floor.value:
            findings.disagree(
                f"records/{record.stem}.json: {_FLOOR} is {floor.value}, and {first[record.seed]} elsewhere"
            )

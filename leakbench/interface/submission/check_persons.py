"""Records of persons in a submission: their scores follow from those of their images, which are in another record."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from leakbench.interface.submission.findings import Findings
from leakbench.measurement.recompute import membership_evidence
from leakbench.metrics.evaluate.persons import score_persons
from leakbench.results.record import Record

Arrays = Mapping[str, np.ndarray]


def check_persons(record: Record, arrays: Arrays, images: Arrays | None, findings: Findings) -> None:
    """Check the arrays of a record of persons against those of the record of their images (None: it has none, or is
    missing). By other images of them there is nothing to compare with but who they are."""
    where = f"records/{record.stem}.json"
    try:
        joined = None if images is None else score_persons(membership_evidence(images))[0].arrays
    except (KeyError, ValueError, TypeError, IndexError):
        joined = None
    if joined is None:
        findings.disagree(f"{where}: no record of the same persons' images, with groups, that it follows from")
        return
    if record.unit == "identity":
        findings.note(f"not computed again: {record.attack}: scores of images that are in no other record")
        return
    for name in sorted(joined.keys() | arrays.keys()):
        ours, told = joined.get(name), arrays.get(name)
        same = ours is not None and told is not None and ours.shape == told.shape
        if not same or not np.allclose(ours, told, rtol=1e-6, atol=1e-9, equal_nan=True):  # type: ignore[arg-type]
            findings.disagree(f"{where}: {name} does not follow from the scores of the persons' images")

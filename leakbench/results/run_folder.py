"""A finished (or unfinished) run on disk, for reports: its plan, its records, their arrays."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from leakbench.results.record import Record
from leakbench.results.record_files import check_arrays, find_arrays, read_record, validation_fault
from leakbench.results.run_plan import RunPlan
from leakbench.runtime.errors import UsageError
from leakbench.runtime.npz_file import read_npz

if TYPE_CHECKING:
    import numpy as np

_HISTORY = ("command", "seconds", "cells", "workers")


def open_run(path: Path) -> RunFolder:
    """The run in a folder. Raises UsageError where it holds none."""
    if not (path / "plan.json").is_file():
        raise UsageError(f"{path}: not the folder of a run (it has no plan.json)")
    return RunFolder(path)


class RunFolder:
    """The folder of a run. All is read on first use and kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._checked: set[Path] = set()  # files of arrays that are as they were written
        self.answers: dict[Callable[..., Any], Callable[..., Any]] = {}  # kept by leakbench.results.run_cache

    @property
    def whole(self) -> RunFolder:
        """The run itself; a part of a run, made to be shown, answers the run that it is a part of."""
        return self

    @cached_property
    def plan(self) -> RunPlan:
        """plan.json. Raises UsageError where it is damaged."""
        path = self.path / "plan.json"
        try:
            return RunPlan.model_validate_json(path.read_bytes())
        except ValidationError as error:
            fault = validation_fault(error)
            raise UsageError(f"{path}: damaged ({fault}); run the same command again with another --out") from None

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """history.json: a row for each `leakbench run` on this folder that computed something, oldest first. Of a
        damaged one nothing is known, which is said on stderr."""
        path = self.path / "history.json"
        with suppress(FileNotFoundError):
            try:
                rows = [{name: row[name] for name in _HISTORY} for row in json.loads(path.read_bytes())]
                if all(isinstance(row["seconds"], int | float) for row in rows):
                    return rows
                raise ValueError("seconds that are no number")
            except (ValueError, TypeError, KeyError):
                print(f"leakbench: {path}: damaged; the times of earlier commands are not known", file=sys.stderr)
        return []

    @cached_property
    def records(self) -> list[Record]:
        """All records, in the order of the plan's points, then by attack, access and seed."""
        order = {planned.point: i for i, planned in enumerate(self.plan.points)}
        methods = self.plan.methods
        found = [read_record(path, methods) for path in (self.path / "records").glob("*.json")]
        return sorted(found, key=lambda r: (order.get(r.point, len(order)), r.point, r.attack, r.access, r.seed))

    def arrays(self, record: Record, only: Collection[str] = ()) -> dict[str, np.ndarray]:
        """The raw arrays of a record (empty if it has none), or of these names alone; never unpickles.

        membership: member_scores, nonmember_scores, calibration_member_scores, calibration_nonmember_scores (float64);
        member_rows, nonmember_rows (rows of the data set, or its `index` of them) and, where it has labels,
        member_labels, nonmember_labels.
        replication: similarity, nearest (per sample), null_similarity; and, unless images are withheld, the samples
        most similar to a training image: pair_samples, pair_nearest (K, H, W, C) uint8, pair_similarity (K,), most
        similar first; of a search over transforms also transforms (per sample) and pair_transforms (K,), bits whose
        names are the record's info["transforms"]. quality: mean, covariance, n of the samples' features; and the share
        of each sample and real image in each metric (`find_shares`). Raises UsageError where the file is damaged.
        """
        path = find_arrays(self.path, record)
        if path is None:  # records may be handed on without what holds pictures
            return {}
        if path not in self._checked:
            check_arrays(path, record)
            self._checked.add(path)
        return read_npz(path, only)[0]

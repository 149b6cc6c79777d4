"""The split of a submission: the same in every record, as many images as planned, none on both sides, and, where the
data set is at hand, the images that the plan's seed draws."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from leakbench.data import Split, draw_split
from leakbench.data.dataset import DUPLICATE_SHARE, PARTS, Dataset
from leakbench.data.split import TooFewImages
from leakbench.data.split_groups import has_several, list_units
from leakbench.interface.submission.findings import Findings
from leakbench.results.record import Record
from leakbench.results.run_plan import RunPlan
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.suite.file import SuiteFile

PUBLIC = (  # that we can load
    "digits",
    "cifar10",
    "cifar100",
    "fashion-mnist",
    "medmnist",
    "celeba",
    "olivetti",
    "lfw",
    "lsun-church",
    "people",
)
_SIDES = {  # arrays of membership records, and the part whose images they are of
    "member_scores": "member",
    "nonmember_scores": "nonmember",
    "calibration_member_scores": "calibration_in",
    "calibration_nonmember_scores": "calibration_out",
    "member_rows": "member",
    "nonmember_rows": "nonmember",
}


class SplitCheck:
    """Checks the arrays of one record after the other against the split of the plan."""

    def __init__(self, plan: RunPlan, file: SuiteFile, findings: Findings) -> None:
        self.plan, self.findings, self._holds_back = plan, findings, bool(file.split.other_images)
        self._first: dict[str, np.ndarray] = {}
        self._drawn = _draw(file, findings)
        if self._drawn is not None:
            _check_counts(plan, *self._drawn, findings)
        elif not file.split.file:
            self._check_planned_counts(file)

    def _check_planned_counts(self, file: SuiteFile) -> None:
        """A data set may say itself which images are what, and then has fewer; never more."""
        asked = {"member": file.split.members, "nonmember": file.split.nonmembers}
        asked |= {"calibration_in": file.split.calibration_in, "calibration_out": file.split.calibration_out}
        for part, count in asked.items():
            if _whole(self.plan.split.get(part)) > count:
                self.findings.disagree(f"plan.json: split.{part} is more than the {count} that its settings ask for")

    def check(self, record: Record, arrays: Mapping[str, np.ndarray]) -> bool:
        """Check the arrays of a membership record. Returns whether they are all there, of the planned length."""
        where, fits = f"arrays/{record.stem}.npz", True
        for name, part in _SIDES.items():
            told = self.plan.split.get(part)
            if name not in arrays:
                self.findings.disagree(f"{where}: {name} is missing")
            elif arrays[name].shape != (_whole(told),):
                self.findings.disagree(f"{where}: {name} has shape {arrays[name].shape}; the plan says {told!r} images")
            else:
                continue
            fits = False
        if fits:
            self._check_images(where, arrays)
            self._check_units(arrays)
        return fits

    def _check_units(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Who has several images of a person is asked about persons, and who has held some back about those."""
        groups = [array for name, array in arrays.items() if name.endswith("_groups")]
        few = not arrays.get("calibration_member_scores", np.empty(0)).size
        wanted = {"person"} if not few and any(map(has_several, groups)) else set[str]()
        wanted |= {"identity"} if wanted and self._holds_back else set()
        for unit in sorted(wanted - {*self.plan.units}):
            words = f"plan.json: units lack {unit!r}: images come in groups, and attacks were not asked about these"
            if words not in self.findings.disagreements:
                self.findings.disagree(words)

    def _check_images(self, where: str, arrays: Mapping[str, np.ndarray]) -> None:
        member, nonmember = arrays["member_rows"], arrays["nonmember_rows"]
        if len(np.unique(np.concatenate([member, nonmember]))) < member.size + nonmember.size:
            self.findings.disagree(f"{where}: an image is named twice, or is member and nonmember")
        for name, rows in (("member_rows", member), ("nonmember_rows", nonmember)):
            if not np.array_equal(self._first.setdefault(name, rows), rows):
                self.findings.disagree(f"{where}: {name}: not the images of the other records")
            if self._drawn is not None and not np.array_equal(rows, self._drawn_rows(name)):
                self.findings.disagree(f"{where}: {name}: not the images that the seed of the plan draws")

    def _drawn_rows(self, name: str) -> np.ndarray:
        assert self._drawn is not None
        data, split = self._drawn
        rows = split.parts[_SIDES[name]]
        return rows if data.index is None else data.index[rows]


def _check_counts(plan: RunPlan, data: Dataset, split: Split, findings: Findings) -> None:
    follows: dict[str, Any] = {part: len(split.parts[part]) for part in PARTS}
    follows["near_duplicates_removed"] = split.removed
    for key, count in follows.items():
        if plan.split.get(key) != count:
            findings.disagree(f"plan.json: split.{key} is {plan.split.get(key)!r}, and drawing it again gives {count}")
    if plan.units != list_units(split):
        findings.disagree(
            f"plan.json: units are {plan.units!r}, and drawing the split again gives {list_units(split)!r}"
        )
    if plan.dataset != data.name:
        findings.disagree(f"plan.json: dataset is {plan.dataset!r}, and its settings give {data.name!r}")


def _draw(file: SuiteFile, findings: Findings) -> tuple[Dataset, Split] | None:
    """The data set and its split, drawn again; None where the images are not public, or not on this machine."""
    if file.dataset.partition(":")[0] not in PUBLIC or file.split.file:
        findings.note(
            "split: which images it has was not drawn again: its images, or its list of them, are a user's own"
        )
        return None
    if file.split.duplicate_radius > DUPLICATE_SHARE:  # the larger it is, the longer the search takes
        findings.note("split: which images it has was not drawn again: its duplicate_radius is larger than usual")
        return None
    try:
        with no_network():
            data = registry.dataset(file.dataset, "plan.json: settings: dataset")()
            return data, draw_split(data, file.split)
    except TooFewImages as error:
        findings.disagree(f"plan.json: split: {error}")
        return None
    except UsageError as error:
        findings.note(f"split: which images it has was not drawn again: {error}")
        return None


@contextmanager
def no_network() -> Iterator[None]:
    """A stranger's plan downloads nothing."""
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before


def _whole(number: Any) -> int:
    return number if isinstance(number, int) else -1

"""The file of checked submissions: what `leakbench check submission` found, and the counter-evaluations filed since.

`leakbench check submission PATH --record FILE` writes it, and so does `leakbench check counter`; `leakbench leaderboard
--verified FILE` reads it. A submission goes by the digest of its run (leakbench.results.run_digest).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from leakbench.results.record import ACCESS_LEVELS, AccessName, Metric
from leakbench.results.record_files import validation_fault
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import write_atomically

Status = Literal["agrees", "disagrees", "void"]
RowState = Literal["self-reported", "ensemble", "best external", "unreliable"]

RANKING_METRIC = "oriented_auc"  # of a counter-evaluation, which it is ranked by
_MOST_BYTES = 2**26

_Word = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CounterEvaluation(_Entry):
    """An attack that somebody else filed against one point of a submission, re-scored here from its raw scores.

    - digest: sha256 of its files. by: who filed it. attack: its name. point: the point that it is against.
    - queries: calls an image, as it says. metrics, flags: as a record has them, `oriented_auc` among them.
    - kind: `verified` where its plugin was run again on the stored weights and gave these scores; `asserted` where
      there are scores and nothing else: anybody can write scores, so these rank nothing.
    - leakbench, checked: the version that re-scored it, and when.
    """

    digest: _Digest
    point: _Word
    attack: _Word
    access: AccessName
    seed: int
    queries: float = Field(ge=0)
    kind: Literal["verified", "asserted"]
    metrics: tuple[Metric, ...]
    flags: tuple[_Word, ...] = ()
    by: _Word = ""
    leakbench: _Word
    checked: AwareDatetime

    @field_validator("metrics")
    @classmethod
    def _finite(cls, metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
        for one in metrics:
            if not all(number is None or isfinite(number) for number in (one.value, one.ci_low, one.ci_high)):
                raise ValueError(f"{one.name!r} is not finite")
        return metrics

    def metric(self, name: str) -> Metric | None:
        """The metric of a name, or None."""
        return next((one for one in self.metrics if one.name == name), None)

    @property
    def lower_bound(self) -> float:
        """The lower bound of its AUC, read with the sign that its calibration scores asked for; 0 without one."""
        return lower_bound({one.name: one for one in self.metrics})


class CheckedSubmission(_Entry):
    """One submission, as it was last checked.

    - status: `agrees`: every number follows from the raw arrays, and plan and records agree; `disagrees`; `void`: all
      agrees, but the blind baseline wins or a control misbehaves, so that no membership result says anything.
    - ensemble: the frozen suite or ensemble whose questions it answers, such as "strongest 1"; "" if it is none.
    - missing: cells of the suite without a record, in words. disagreements: one line each, at most 100 of them.
    - counters: the counter-evaluations that were filed against it.
    """

    digest: _Digest
    status: Status
    ensemble: _Word = ""
    missing: tuple[_Word, ...] = ()
    disagreements: tuple[_Word, ...] = ()
    counters: tuple[CounterEvaluation, ...] = ()
    leakbench: _Word
    checked: AwareDatetime

    def strongest_counter(self, point: str, access: AccessName) -> CounterEvaluation | None:
        """The verified counter-evaluation of a point with the largest lower bound, of those that need this access level
        or less; None if there is none."""
        reach = list_reach(access)
        found = [one for one in self.counters if one.kind == "verified" and one.point == point and one.access in reach]
        return max(found, key=lambda one: one.lower_bound, default=None)


class VerifiedFile(_Entry):
    """All that the file holds. Each digest stands there once."""

    schema_version: Literal[1] = 1
    submissions: tuple[CheckedSubmission, ...] = ()

    def find(self, digest: str) -> CheckedSubmission | None:
        """The entry of a submission, by its digest, or None."""
        return next((one for one in self.submissions if one.digest == digest), None)

    def with_entry(self, entry: CheckedSubmission) -> VerifiedFile:
        """The same file with one entry in place of that of the same digest, or at the end."""
        others = [one for one in self.submissions if one.digest != entry.digest]
        return VerifiedFile(submissions=tuple(sorted([*others, entry], key=lambda one: one.digest)))


def list_reach(access: AccessName) -> tuple[AccessName, ...]:
    """The access levels that need this one or less."""
    return ACCESS_LEVELS[: ACCESS_LEVELS.index(access) + 1]


def lower_bound(metrics: Mapping[str, Metric]) -> float:
    """The lower bound of an attack's AUC, read with the sign that its calibration scores asked for, or as it is where
    there were none; 0 without one."""
    found = metrics.get(RANKING_METRIC) or metrics.get("auc")
    return 0.0 if found is None or found.ci_low is None else found.ci_low


def row_state(entry: CheckedSubmission | None, point: str, access: AccessName, lower_bound: float) -> RowState:
    """The state of a row of a leaderboard.

    - entry: the submission's entry in the file, None where it has none. lower_bound: the largest one of the AUC of the
      submission's own attacks at this access level or less.

    `unreliable`: it was checked, and does not agree or is void. `best external`: a verified counter-evaluation has a
    larger lower bound. `ensemble`: all cells of a frozen suite are there, and every number follows from its raw arrays.
    `self-reported`: everything else.
    """
    if entry is None:
        return "self-reported"
    if entry.status != "agrees":
        return "unreliable"
    counter = entry.strongest_counter(point, access)
    if counter is not None and counter.lower_bound > lower_bound:
        return "best external"
    return "ensemble" if entry.ensemble and not entry.missing else "self-reported"


def read_verified(path: Path) -> VerifiedFile:
    """Read the file. Raises UsageError, in one line, for one that is not there, too large, or damaged."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file; `leakbench check submission PATH --record {path}` writes it")
    if path.stat().st_size > _MOST_BYTES:
        raise UsageError(f"{path}: larger than {_MOST_BYTES >> 20} MiB: that is no file of checked submissions")
    try:
        read = VerifiedFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UsageError(f"{path}: not a file of checked submissions ({validation_fault(error)})") from None
    digests = [one.digest for one in read.submissions]
    if twice := next((one for one in digests if digests.count(one) > 1), None):
        raise UsageError(f"{path}: two entries have the digest {twice}; check the submission again")
    return read


def write_verified(path: Path, content: VerifiedFile) -> None:
    """Write the file, whole or not at all."""
    text = json.dumps(content.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"
    write_atomically(path, text.encode())

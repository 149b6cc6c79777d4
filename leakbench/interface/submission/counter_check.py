"""`leakbench.check_counter`: scores that somebody files against a submission, evaluated here.

Scores alone are *asserted*: anybody can write some. They are *verified* where the plugin was run again here, on stored
weights of the submission's run, and gave the same AUC; the numbers that then stand are those of that run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np

from leakbench.interface.options import PathName
from leakbench.interface.submission.check import SubmissionCheck, check_folder
from leakbench.interface.submission.counter_file import Counter, read_counter
from leakbench.interface.submission.counter_rerun import Rerun, rerun_attack
from leakbench.interface.submission.findings import Findings
from leakbench.interface.submission.unpack import unpacked
from leakbench.metrics.evaluate.metric_set import MetricSet
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.verified import (
    CounterEvaluation,
    VerifiedFile,
    list_reach,
    lower_bound,
    read_verified,
    write_verified,
)
from leakbench.runtime.errors import UsageError
from leakbench.runtime.paths import user_path

_MANY = 10  # distinct scores: fewer can order images alike by chance


@dataclass(frozen=True)
class CounterCheck:
    """What a check of a counter-evaluation found.

    - entry: it, as a file of checked submissions holds it; its metrics are of the plugin's run here if it is verified.
    - own: the largest lower bound of an AUC among the submission's own attacks that need this access or less.
    - void: why no membership result of the submission says anything. findings: what does not agree.
    """

    entry: CounterEvaluation
    own: float
    void: tuple[str, ...]
    findings: Findings

    @property
    def is_stronger(self) -> bool:
        """Tell whether its lower bound is above those of the submission's own attacks."""
        return self.entry.lower_bound > self.own


def check_counter(
    path: PathName, against: PathName, *, weights: PathName | None = None, record: PathName | None = None
) -> CounterCheck:
    """Evaluate the scores of a counter-evaluation against a submission, and run its plugin again where that can be.

    - path: its folder (docs/submit.md). against: the submission, packed, or its folder.
    - weights: the folder of the submission's run on this machine, whose weights are in the cache. The plugin is then
      run: it is a stranger's code, to be read first. None: nothing of it is run.
    - record: a file of checked submissions, to which it is added.

    Raises UsageError, in one line, for what is none, and for a submission that does not agree with itself.
    """
    counter = read_counter(user_path(path))
    kept = None if record is None else user_path(record)
    file = read_verified(kept) if kept is not None and kept.exists() else VerifiedFile()
    with unpacked(user_path(against)) as folder:
        checked = check_folder(folder, Path(against))
        if checked.status == "disagrees":
            raise UsageError(f"{against}: does not agree with itself: {checked.findings.disagreements[0]}")
        run, findings = RunFolder(folder), Findings()
        _check_target(counter, checked, run, findings)
        again = None
        if weights is not None and not findings.disagreements:
            again = rerun_attack(counter, run, user_path(weights), findings)
        if again is None:
            _check_access(counter, run, findings)
        found = CounterCheck(_to_entry(counter, again), _strongest_own(counter, run), checked.void, findings)
    if kept is not None and not findings.disagreements:
        entry = file.find(checked.digest) or checked.to_entry()
        others = tuple(one for one in entry.counters if one.digest != counter.digest)
        write_verified(kept, file.with_entry(entry.model_copy(update={"counters": (*others, found.entry)})))
    return found


def _check_target(counter: Counter, checked: SubmissionCheck, run: RunFolder, findings: Findings) -> None:
    """Check that the scores are of this submission: its digest, a point and a seed of it, as many images."""
    file, plan = counter.file, run.plan
    if file.submission != checked.digest:
        findings.disagree(f"submission = {file.submission!r}, and this one is {checked.digest}")
    if file.point not in (names := [point.point for point in plan.points]):
        findings.disagree(f"point = {file.point!r}: the submission has {', '.join(names)}")
    if file.seed not in plan.seeds:
        findings.disagree(f"seed = {file.seed}: the submission has {', '.join(map(str, plan.seeds))}")
    pairs = {("member", "nonmember"): counter.scores.arrays.scores}
    if counter.scores.arrays.calibration is not None:
        pairs["calibration_in", "calibration_out"] = counter.scores.arrays.calibration
    for parts, sides in pairs.items():
        for part, scores in zip(parts, sides, strict=True):
            if len(scores) != plan.split.get(part):
                findings.disagree(
                    f"scores.npz: {len(scores)} scores of {part} images: the submission has {plan.split.get(part)}"
                )


def _check_access(counter: Counter, run: RunFolder, findings: Findings) -> None:
    """Check that the scores do not order the images just as an attack of the submission that needs more access does:
    a claim that nothing but running the plugin could carry."""
    order, reach = _order(*counter.scores.arrays.scores), list_reach(counter.file.access)
    for record in _own_records(counter, run):
        arrays = run.arrays(record)
        if record.access in reach or not {"member_scores", "nonmember_scores"} <= arrays.keys():
            continue
        own = _order(arrays["member_scores"], arrays["nonmember_scores"])
        if len(np.unique(order)) > _MANY and (np.array_equal(order, own) or np.array_equal(order, own.max() - own)):
            findings.disagree(
                f"access = {counter.file.access!r}: the scores order all images as the submission's own "
                f"{record.attack} at {record.access} does; give the plugin and --weights to show that "
                "less access is enough"
            )


def _order(member: np.ndarray, nonmember: np.ndarray) -> np.ndarray:
    """The place of each image in the order of the scores, equals alike."""
    return np.unique(np.concatenate([member, nonmember]), return_inverse=True)[1]


def _to_entry(counter: Counter, again: Rerun | None) -> CounterEvaluation:
    file = counter.file
    found: MetricSet = counter.scores.findings if again is None else again.findings
    kind: Literal["verified", "asserted"] = "asserted" if again is None else "verified"
    return CounterEvaluation(
        digest=counter.digest,
        point=file.point,
        attack=file.attack,
        access=file.access,
        seed=file.seed,
        queries=file.queries if again is None else again.queries,
        kind=kind,
        metrics=tuple(found.metrics),
        flags=tuple(sorted(found.flags)),
        by=file.by or "",
        leakbench=version("leakbench"),
        checked=datetime.now(UTC).replace(microsecond=0),
    )


def _strongest_own(counter: Counter, run: RunFolder) -> float:
    reach = list_reach(counter.file.access)
    own = [{one.name: one for one in record.metrics} for record in _own_records(counter, run) if record.access in reach]
    return max((lower_bound(metrics) for metrics in own), default=0.0)


def _own_records(counter: Counter, run: RunFolder) -> list[Record]:
    """The submission's membership records of the point and seed that were attacked."""
    asked = ("membership", counter.file.point, counter.file.seed)
    return [record for record in run.records if (record.family, record.point, record.seed) == asked]

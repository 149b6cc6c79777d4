"""Numbers of a submission: every metric, flag and fact that follows from raw arrays is computed again."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from math import isclose
from typing import Any

import numpy as np

from leakbench.interface.submission.arrays import read_arrays
from leakbench.interface.submission.check_persons import check_persons
from leakbench.interface.submission.check_plan import PlannedSuite
from leakbench.interface.submission.check_quality import check_floors, check_moments
from leakbench.interface.submission.check_skips import SkipCheck
from leakbench.interface.submission.check_split import SplitCheck
from leakbench.interface.submission.findings import Findings
from leakbench.interface.submission.packed_arrays import is_packed
from leakbench.measurement.recompute import RECOMPUTED_FLAGS, RecordArrays, recompute_record
from leakbench.metrics.evaluate.metric_set import MetricSet
from leakbench.results.metric_specs import find_metric
from leakbench.results.record import Metric, Record
from leakbench.results.run_folder import RunFolder
from leakbench.runtime.errors import UsageError

_RELATIVE, _ABSOLUTE = 1e-6, 1e-9  # between machines and versions of libraries, sums round differently
_FAULTS = (  # of statistics that are given what no attack leaves
    *(ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError, AssertionError),
    *(MemoryError, RuntimeError),
)
_TOO_SMALL = "forget-set-too-small"  # of a record without arrays


def check_numbers(run: RunFolder, suite: PlannedSuite, findings: Findings) -> None:
    """Check every record's numbers."""
    split, skips = SplitCheck(run.plan, suite.file, findings), SkipCheck(suite, findings)
    check_floors(run.records, findings)
    records = {(r.point, r.attack, r.access, r.seed): r for r in run.records}
    for record in run.records:
        if "not-applicable" in record.flags and not record.metrics and not record.arrays:
            skips.check(record)
            continue
        arrays = _read(run, record, findings)
        if arrays is None:
            continue
        if record.family == "membership" and record.unit == "image" and not split.check(record, arrays):
            continue
        if record.unit != "image":
            images = records.get((record.point, record.attack_id, record.access, record.seed))
            check_persons(record, arrays, None if images is None else _read(run, images, Findings()), findings)
        asked = records.get((record.point, record.attack, "DENOISER", record.seed))
        answers = None
        if asked is not None and record.family == "membership" and record.access == "WEIGHTS":
            answers = _read(run, asked, Findings())
        trained_on = sum(n for part in ("member", "calibration_in") if isinstance(n := run.plan.split.get(part), int))
        given = RecordArrays(arrays, suite.attacks.get(record.attack_id), trained_on, answers)
        _check_record(record, given, findings)


def _read(run: RunFolder, record: Record, findings: Findings) -> dict[str, np.ndarray] | None:
    """The arrays of a record; None where it has none."""
    where, path = f"arrays/{record.stem}.npz", run.path / "arrays" / f"{record.stem}.npz"
    if not record.arrays:
        if record.metrics and record.family != "quality":
            findings.disagree(f"records/{record.stem}.json: has numbers, and no arrays that they follow from")
        elif not record.metrics and _TOO_SMALL not in record.flags:
            findings.disagree(f"records/{record.stem}.json: has no numbers, and no flag that says why")
        return None
    if not path.is_file():
        findings.disagree(f"{where}: is missing")
        return None
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != record.arrays:
        findings.disagree(f"{where}: its sha256 is not that of its record")
    try:
        arrays = read_arrays(data, where)
    except UsageError as error:
        findings.disagree(str(error))
        return None
    for name in arrays:
        if not is_packed(record.family, name):
            findings.disagree(f"{where}: {name}: no array of such a record")
    return arrays


def _check_record(record: Record, given: RecordArrays, findings: Findings) -> None:
    where = f"records/{record.stem}.json"
    _check_ranges(record, where, findings)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            follows = recompute_record(record, given)
    except _FAULTS as error:
        findings.disagree(f"{where}: cannot be computed again: {type(error).__name__}: {error}")
        return
    if follows is None:
        findings.note("not computed again: distances, which need the features of real images; no run holds those")
        check_moments(record, given.arrays, findings)
        return
    findings.numbers += len(follows.metrics)
    _check_metrics(record, follows, where, findings)
    _check_flags(record, follows, where, findings)
    _check_facts("info", record.info, follows.info, where, findings)
    _check_facts("realised_fpr", record.realised_fpr, follows.realised_fpr, where, findings)
    if record.realised_fpr.keys() != follows.realised_fpr.keys():
        findings.disagree(f"{where}: realised_fpr: not those of its metrics")


def _check_ranges(record: Record, where: str, findings: Findings) -> None:
    """Values within the range of their metric, intervals around them, each name once."""
    names = [one.name for one in record.metrics]
    if twice := next((name for name in names if names.count(name) > 1), None) if len(names) < 1000 else "a metric":
        findings.disagree(f"{where}: {twice} stands there twice")
    for one in record.metrics[:1000]:
        spec = find_metric(one.name)
        inside = one.value is None or spec.low <= one.value <= spec.high
        between = [one.ci_low, one.ci_high] if spec.spread else [one.ci_low, one.value, one.ci_high]
        ordered = None in between or between == sorted(between)  # type: ignore[type-var]
        if not inside or not ordered or one.n < 0:
            findings.disagree(f"{where}: {one.name} = {one.value} [{one.ci_low}, {one.ci_high}] of {one.n}: cannot be")


def _check_metrics(record: Record, follows: MetricSet, where: str, findings: Findings) -> None:
    told, found = ({one.name: one for one in metrics} for metrics in (record.metrics, follows.metrics))
    for name in sorted(told.keys() ^ found.keys()):
        findings.disagree(f"{where}: {name}: {'does not follow from its arrays' if name in told else 'is left out'}")
    for name in sorted(told.keys() & found.keys()):
        wrong = [
            part for part in Metric.model_fields if not _agree(getattr(told[name], part), getattr(found[name], part))
        ]
        for part in wrong:
            said, is_ = getattr(told[name], part), getattr(found[name], part)
            words = name if part == "value" else f"{part} of {name}"
            findings.disagree(f"{where}: {words} is {said}, and its arrays give {is_}")


def _check_flags(record: Record, follows: MetricSet, where: str, findings: Findings) -> None:
    assert record.family != "quality"
    known = RECOMPUTED_FLAGS[record.family]
    for flag in sorted(({*record.flags} & known) ^ (follows.flags & known)):
        there = "is there, and does not follow" if flag in record.flags else "is left out, and follows"
        findings.disagree(f"{where}: flag {flag} {there} from its arrays")


def _check_facts(key: str, told: Mapping[str, Any], follows: Mapping[str, Any], where: str, findings: Findings) -> None:
    for name in sorted(follows):
        if not _agree(told.get(name), follows[name]):
            findings.disagree(f"{where}: {key}.{name} is {told.get(name)!r}, and its arrays give {follows[name]!r}")


def _agree(said: Any, follows: Any) -> bool:
    """Equal, but for the rounding of floats."""
    if isinstance(follows, dict):
        return (
            isinstance(said, dict) and said.keys() == follows.keys() and all(_agree(said[k], follows[k]) for k in said)
        )
    if isinstance(follows, list | tuple):
        return (
            isinstance(said, list | tuple)
            and len(said) == len(follows)
            and all(_agree(a, b) for a, b in zip(said, follows, strict=True))
        )
    numbers = isinstance(said, int | float) and isinstance(follows, int | float)
    return isclose(said, follows, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE) if numbers else bool(said == follows)

"""Checks of a run before it joins a leaderboard: numbers that no measurement gives, sizes that no board can show, and
facts of a shape that no run has.

Names are checked where records are read (`leakbench.results.names`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from math import inf, isfinite
from pathlib import Path
from zipfile import ZipFile

from leakbench.results.metric_specs import find_metric
from leakbench.results.record import Metric, Record
from leakbench.results.run_folder import RunFolder
from leakbench.runtime.errors import UsageError, in_a_line

MOST_RECORDS = 200_000  # of a run
MOST_ROWS = 20_000  # of a site
MOST_BYTES = 2**31  # of the arrays of a record
_LARGEST = 1e15
_SMALL = 2**18  # bytes: a zip file of fewer does not unpack to more than that
_ROUNDING = 1e-6  # by which a metric may leave its range


def check_run(run: RunFolder) -> None:
    """Raise UsageError, in one line, for a run that cannot stand on a board."""
    count = sum(1 for _ in (run.path / "records").glob("*.json"))
    if count > MOST_RECORDS:
        raise UsageError(f"{run.path}: {count:,} records; a leaderboard takes {MOST_RECORDS:,} of a run at most")
    if not run.plan.points:
        raise UsageError(f"{run.path}: its plan names no points, so there is nothing to show")
    for path in (run.path / "arrays").glob("*.npz"):
        _check_arrays(path)
    for record in run.records:
        _check_record(run, record)


@contextmanager
def reading(run: RunFolder) -> Iterator[None]:
    """Turn whatever goes wrong while a stranger's run is read into one line: facts may be of any shape."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        why = f"`leakbench check submission {run.path}` tells what is wrong with it"
        raise UsageError(f"{run.path}: cannot be shown ({in_a_line(error)[:200]}); {why}") from error


def check_rows(count: int) -> None:
    """Raise UsageError for more rows than a site can show."""
    if count > MOST_ROWS:
        raise UsageError(f"leaderboard: {count:,} rows; {MOST_ROWS:,} at most: split the results over several sites")


def _check_arrays(path: Path) -> None:
    """Raise UsageError for arrays that would fill the memory."""
    if path.stat().st_size < _SMALL:
        return
    with ZipFile(path) as packed:
        size = sum(member.file_size for member in packed.infolist())
    if size > MOST_BYTES:
        raise UsageError(f"{path}: unpacks to {size >> 20} MiB; {MOST_BYTES >> 20} MiB at most")


def _check_record(run: RunFolder, record: Record) -> None:
    where = f"{run.path}: {record.stem}"
    epsilon = record.guarantee.get("epsilon", 0.0)
    if isinstance(epsilon, bool) or not isinstance(epsilon, int | float):
        raise UsageError(f"{where}: epsilon = {str(epsilon)[:40]!r}: it should be a number")
    numbers: dict[str, float] = {"queries": record.queries, **record.run.timings}
    if epsilon != inf:  # what clipping alone guarantees
        numbers["epsilon"] = epsilon
    numbers |= {f"the n of {metric.name}": metric.n for metric in record.metrics}
    for name, number in numbers.items():
        if not 0 <= number <= _LARGEST:
            raise UsageError(f"{where}: {name} = {_shorten(number)}: it should be a number from 0 to {_LARGEST:g}")
    for metric in record.metrics:
        _check_metric(where, metric)


def _check_metric(where: str, metric: Metric) -> None:
    low, high = _range(metric.name)
    for number in _given(metric.value, metric.ci_low, metric.ci_high):
        if not (isfinite(number) and abs(number) <= _LARGEST):
            raise UsageError(f"{where}: {metric.name} = {number:g}: it should be a finite number")
    for number in _given(metric.value):
        if not low - _ROUNDING <= number <= high + _ROUNDING:
            raise UsageError(f"{where}: {metric.name} = {number:g}: it lies in [{low:g}, {high:g}]")


@lru_cache(maxsize=1024)
def _range(metric: str) -> tuple[float, float]:
    """The range of a metric; looked up once, not for every record."""
    return find_metric(metric).bounds


def _given(*numbers: float | None) -> Iterable[float]:
    return (number for number in numbers if number is not None)


def _shorten(number: float) -> str:
    """A number in few characters; whole numbers may have thousands of digits."""
    text = f"{number:#x}" if isinstance(number, int) and abs(number) >= 10**18 else str(number)
    return text if len(text) <= 40 else f"{text[:37]}..."

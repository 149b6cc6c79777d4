"""results.csv, summary.csv and timings.csv: the records as tidy tables, the same bytes for the same records; and
beside them the files of `findings_csv`.

results.csv has one row a metric and no seconds; summary.csv joins the seeds; timings.csv holds all that differs between
two runs of one plan. Floats are written by `repr`, so that they read back as the very numbers of the records.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from math import isnan
from pathlib import Path
from typing import Any

from leakbench.results.metric_specs import find_metric
from leakbench.results.record import Metric, Record
from leakbench.results.run_folder import RunFolder
from leakbench.runtime.files import write_atomically

from ..reading.aggregate import summarise, to_estimate
from ..reading.metric_flags import read_flags
from .findings_csv import FILES

_RELEASE = ("suite", "dataset", "model", "defense", "point", "defense_params")
_WHO = (*_RELEASE, "attack", "attack_params", "features", "access")
_METRIC = ("metric", "title", "better")  # better: which values speak for the defense
RESULTS = (*_WHO, "seed", *_METRIC, "value", "ci_low", "ci_high", "n", "queries", "flags")
SUMMARY = (*_WHO, *_METRIC, "mean", "low", "high", "minimum", "maximum", "seeds", "flags")
TIMINGS = ("point", "attack", "access", "seed", "name", "seconds")


def write_csv(run: RunFolder) -> list[Path]:
    """Write all tables into the run's folder."""
    tables = {
        "results.csv": (RESULTS, results(run)),
        "summary.csv": (SUMMARY, summary(run)),
        "timings.csv": (TIMINGS, timings(run)),
    }
    written = [_write(run.path / name, titles, rows) for name, (titles, rows) in tables.items()]
    for name, (list_rows, bare) in FILES.items():
        found = list(list_rows(run))
        titles = tuple(found[0]) if found else bare
        written.append(_write(run.path / name, titles, [tuple(row[title] for title in titles) for row in found]))
    return written


def results(run: RunFolder) -> Iterator[tuple[Any, ...]]:
    """Rows of results.csv, one a metric of a record."""
    for record in run.records:
        for m in record.metrics:
            flags = ";".join(read_flags(run, record, m.name))
            yield (
                *_who(record),
                record.seed,
                *_metric(m.name),
                m.value,
                m.ci_low,
                m.ci_high,
                m.n,
                record.queries,
                flags,
            )


def summary(run: RunFolder) -> Iterator[tuple[Any, ...]]:
    """Rows of summary.csv, one a metric over its seeds; without any value, one with 0 seeds."""
    groups: dict[tuple[str, ...], list[Metric]] = {}
    flags: dict[tuple[str, ...], set[str]] = {}
    for record in run.records:
        for metric in record.metrics:
            key = (*_who(record), metric.name)
            groups.setdefault(key, []).append(metric)
            flags.setdefault(key, set()).update(read_flags(run, record, metric.name))
    for key, metrics in groups.items():
        yield (*key[:-1], *_metric(key[-1]), *_over_seeds(key[-1], metrics), ";".join(sorted(flags[key])))


def _over_seeds(name: str, metrics: list[Metric]) -> tuple[Any, ...]:
    found = [e for e in map(to_estimate, metrics) if e is not None]
    if not found:
        return None, None, None, None, None, 0
    s = summarise(name, found)
    return s.mean, _known(s.low), _known(s.high), s.minimum, s.maximum, s.seeds


def timings(run: RunFolder) -> Iterator[tuple[Any, ...]]:
    """Rows of timings.csv, one a duration of a record."""
    for record in run.records:
        for name, seconds in sorted(record.run.timings.items()):
            yield record.point, record.attack, record.access, record.seed, name, seconds


def _who(record: Record) -> tuple[str, ...]:
    return tuple(_compact(value) if isinstance(value := getattr(record, key), dict) else str(value) for key in _WHO)


def _metric(name: str) -> tuple[str, str, str]:
    spec = find_metric(name)
    return name, spec.title, spec.better


def _compact(params: dict[str, Any]) -> str:
    return json.dumps(params, sort_keys=True, separators=(",", ":"))


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def _write(path: Path, titles: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")  # writes floats by repr and None as an empty cell
    writer.writerow(titles)
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
    return path

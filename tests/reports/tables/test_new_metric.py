"""A new metric is one row in METRICS: with it, CSV files, trade-off table and intervals know title and direction."""

from __future__ import annotations

import csv

import pytest

from leakbench.reports.reading.tradeoff import tradeoff_table
from leakbench.reports.reading.tradeoff_text import format_tradeoff
from leakbench.reports.tables.csv_files import write_csv
from leakbench.results import metric_specs
from leakbench.results.metric_specs import METRICS, MetricSpec
from leakbench.results.record import Metric

NEW = MetricSpec("realism", "realism of samples", "share", 0.0, 1.0, "higher", column="realism")
VALUES = (0.95, 0.9, 0.97)  # by seed; the interval over three seeds would reach beyond 1


@pytest.fixture
def run(tmp_path, make_run):
    """A run whose quality records hold a metric that somebody has begun to compute."""

    def measure(record):
        if record.attack != "quality":
            return record
        value = VALUES[record.seed]
        added = Metric(name="realism", value=value, ci_low=value - 0.2, ci_high=value + 0.02, n=500)
        return record.model_copy(update={"metrics": [*record.metrics, added]})

    return make_run(tmp_path, seeds=(0, 1, 2), images=False, change=measure)


def read(run, name):
    write_csv(run)
    with (run.path / name).open() as file:
        return [row for row in csv.DictReader(file) if row["metric"] == "realism"]


def test_without_a_row_a_metric_is_reported_by_its_name_alone(run):
    (first, *_), (over_seeds, *_) = read(run, "results.csv"), read(run, "summary.csv")
    assert (first["title"], first["better"], float(first["value"])) == ("realism", "", VALUES[0])
    assert float(over_seeds["high"]) > 1  # nobody has said where it ends
    assert "realism" not in format_tradeoff(run)[0]


def test_one_row_gives_title_direction_range_and_column(run, monkeypatch):
    monkeypatch.setattr(metric_specs, "METRICS", (NEW, *METRICS))
    results, summary = read(run, "results.csv"), read(run, "summary.csv")
    assert len(results) == 3 * len(run.plan.points) and len(summary) == len(run.plan.points)
    assert {(row["title"], row["better"]) for row in [*results, *summary]} == {("realism of samples", "higher")}
    assert {float(row["high"]) for row in summary} == {1.0}
    titles, cells = format_tradeoff(run)
    assert cells[0][titles.index("realism")].startswith("94.0 % [")
    table = tradeoff_table(run)
    assert table["realism"].tolist() == pytest.approx([sum(VALUES) / 3] * len(table))

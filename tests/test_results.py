"""docs/results.md is what `leakbench report` makes of the records that lie beside it, and those hold no picture."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from leakbench.reports.reading.controls import list_controls
from leakbench.reports.reading.formatting import format_estimate
from leakbench.reports.site.page import render
from leakbench.reports.tables.csv_files import results
from leakbench.results.run_folder import RunFolder

DOCS = Path(__file__).parent.parent / "docs"
RUNS = sorted(path.parent for path in (DOCS / "results").glob("*/plan.json"))


def test_the_page_is_made_from_the_committed_records():
    assert [run.name for run in RUNS] == ["cifar10", "cpsample_paper", "medical"]
    assert render([RunFolder(run) for run in RUNS], DOCS) == (DOCS / "results.md").read_text()


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_table_of_records_is_the_one_that_report_writes(run):
    """`leakbench report docs/results/medical` leaves results.csv as it is, to the byte."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(results(RunFolder(run)))
    _, _, committed = (run / "results.csv").read_bytes().decode().partition("\n")
    assert committed == written.getvalue()


def test_findings_say_of_the_controls_what_the_records_say():
    controls = list_controls(RunFolder(DOCS / "results" / "medical"))
    farthest = max(controls, key=lambda one: abs(one.auc.value - 0.5))
    words = " ".join((DOCS / "findings.md").read_text().split())
    assert all(one.behaves for one in controls) and farthest.what.startswith("secmi on untrained")
    assert f"the untrained network, {format_estimate(farthest.auc)}." in words


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_no_picture_is_committed(run):
    assert [path for path in run.rglob("*") if path.suffix in (".png", ".pdf", ".jpg")] == []
    for path in (run / "arrays").glob("*.npz"):
        with np.load(path, allow_pickle=False) as packed:
            assert [name for name in packed if packed[name].ndim > 2 or packed[name].dtype == np.uint8] == []


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_no_picture_can_be_looked_up_by_its_hash(run):
    for path in (run / "arrays").glob("*.npz"):
        with np.load(path, allow_pickle=False) as packed:
            assert [name for name in packed if "sha256" in name or packed[name].dtype.kind not in "fiub"] == []


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_every_attack_that_was_planned_has_its_records(run):
    folder = RunFolder(run)
    seen = {(record.point, record.attack) for record in folder.records}
    for planned in folder.plan.points:
        assert (planned.point, "quality") in seen

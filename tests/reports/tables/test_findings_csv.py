"""Every number of report.md is in the CSV files beside it: intervals with every digit, and each cell as printed."""

from __future__ import annotations

import csv
import re
import shutil

import pytest

from leakbench.reports.reading.standing import read_leak
from leakbench.reports.reading.verdicts import list_verdicts
from leakbench.reports.site.report import write_markdown
from leakbench.reports.tables.csv_files import write_csv
from leakbench.results.run_folder import RunFolder

INTERVAL = re.compile(r"(-?[\d,]*\.?\d+)( %)? \[(-?[\d.,]*\d), (-?[\d.,]*\d)\]")
P_VALUE = re.compile(r"\bp (\d\.\d{3})\b")
ENDS = (("{}", "{}_low", "{}_high"), ("value", "ci_low", "ci_high"), ("mean", "low", "high"))
BY_THE_REPORT_ALONE = ("Leakage by class and image",)  # its intervals by class stand in figures/classes.csv

MOVED = "What the defenses moved"


@pytest.fixture(scope="module", params=("run", "army", "finished"))
def written(request, tmp_path_factory):
    """The report's text and the rows of every CSV file, by name."""
    run = request.getfixturevalue(request.param)
    path = tmp_path_factory.mktemp("written") / "run"
    shutil.copytree(getattr(run, "out", None) or run.path, path)
    run = RunFolder(path)
    paths = [*write_csv(run), *write_markdown(run)]
    found = {one.name: read(one) for one in paths if one.suffix == ".csv"}
    return run, (path / "report.md").read_text(), found


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def triples(files):
    """All numbers with an interval in the files."""
    found = set()
    for rows in files.values():
        for names in [(n, f"{n}_low", f"{n}_high") for n in (rows[0] if rows else ())] + list(ENDS[1:]):
            if rows and all(name in rows[0] for name in names):
                found |= {tuple(float(row[name]) for name in names) for row in rows if all(row[n] for n in names)}
    return found


def printed(number, digits):
    return f"{round(number, digits) + 0.0:.{digits}f}"


def test_every_interval_of_the_report_is_in_the_files(written):
    _, text, files = written
    known, shown = triples(files), 0
    parts = [part for part in text.split("\n## ") if not part.startswith(BY_THE_REPORT_ALONE)]
    lines = [line for part in parts for line in part.splitlines() if line.startswith("|") or part.startswith(MOVED)]
    formats = {}
    for value, unit, low, high in set(INTERVAL.findall("\n".join(lines))):
        wanted = tuple(one.replace(",", "") for one in (value, low, high))
        digits = tuple(len(one.partition(".")[2]) for one in wanted)
        scale = 100 if unit or digits == (0, 0, 0) else 1
        key = (digits, scale)
        if key not in formats:
            formats[key] = {tuple(printed(x * scale, d) for x, d in zip(one, digits, strict=True)) for one in known} | {
                tuple(printed(x, d) for x, d in zip(one, digits, strict=True)) for one in known
            }
        assert wanted in formats[key], (value, unit, low, high)
        shown += 1
    assert shown > 20


def test_every_cell_of_the_reports_tables_is_in_report_tables_csv(written):
    _, text, files = written
    count = 0
    for part in text.split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        rows = [line for line in body.splitlines() if line.startswith("|") and not set(line) <= set("|-")]
        said = [row["text"] for row in files["report_tables.csv"] if row["section"] == title]
        titles = [row["column"] for row in files["report_tables.csv"] if row["section"] == title]
        for line in rows:
            for cell in (one.strip() for one in line.strip("|").split(" | ")):
                assert cell in said or cell in titles, (title, cell)
                count += 1
    assert count > 60


def test_verdicts_csv_has_the_strongest_and_every_verdict(written):
    run, _, files = written
    rows = [row for row in files["verdicts.csv"] if row["attackers"] == "all"]
    assert [(row["point"], row["verdict"]) for row in rows] == [
        (point.name, one.words) for point in run.plan.points for one in list_verdicts(run, point)
    ]
    for row in (row for row in rows if row["kind"] != "copies"):
        point = next(point for point in run.plan.points if point.name == row["point"])
        for level in row["access"].split(";"):
            leak = read_leak(run, point, level)
            summary = leak.auc.summary
            assert row["attack"] == leak.attack
            assert [float(row[f"auc{end}"]) for end in ("", "_low", "_high")] == [
                summary.mean,
                summary.low,
                summary.high,
            ]
            assert float(row[run.plan.headline]) == leak.tpr.summary.mean


def test_differences_csv_has_what_the_defenses_moved(written):
    _, text, files = written
    rows = files["differences.csv"]
    moved = text.partition(f"## {MOVED}")[2].partition("\n## ")[0]
    said = re.findall(r"^- .* (fell|rose) from .* \(p (.*)\)\.$", moved, re.MULTILINE)
    defenses = [row for row in rows if row["kind"] == "defense" and row["shown"] == "True"]
    assert len(defenses) >= len(said)
    told = {row["p_corrected"] and f"{float(row['p_corrected']):.3f}" for row in rows}
    assert {p for p in P_VALUE.findall(moved)} <= told


def test_controls_csv_has_each_control(written):
    _, text, files = written
    section = text.partition("## Negative controls")[2].partition("\n## ")[0]
    for line in [line for line in section.splitlines() if line.startswith("| ")][1:]:
        what, auc, holds = (cell.strip() for cell in line.strip("| ").split(" | "))
        (row,) = [row for row in files["controls.csv"] if row["control"] == what]
        assert auc.startswith(f"{float(row['auc']):.3f} [") and (holds == "yes") == (row["holds_half"] == "True")

"""What papers report stands beside the run's own number, and what --budget changed stands at the head."""

from __future__ import annotations

import json
import shutil

import pytest

from leakbench.reports.site.report import render
from leakbench.results.run_folder import RunFolder

ROWS = [
    {
        "paper": "A et al.",
        "setting": "CIFAR-10",
        "defense": "baseline",
        "attack": "pia",
        "metric": "auc",
        "value": 0.885,
    },
    {
        "paper": "A et al.",
        "setting": "CIFAR-10",
        "defense": "baseline",
        "attack": "pia",
        "metric": "tpr@fpr=0.1",
        "value": 0.137,
    },
    {
        "paper": "B et al.",
        "setting": "faces",
        "defense": "cpsample",
        "attack": "quality",
        "metric": "frechet",
        "value": 4.97,
    },
    {
        "paper": "C et al.",
        "setting": "faces",
        "defense": "gone",
        "attack": "",
        "metric": "",
        "value": "unknown to us",
        "says": "tau",
        "note": "why",
    },
]
BUDGET = {
    "minutes": 20.0,
    "factor": 0.03,
    "small": False,
    "changes": [
        {"path": "defense.baseline.steps", "published": 800000, "used": 24000},
        {"path": "network.levels", "published": None, "used": [1, 2]},
    ],
}


@pytest.fixture
def retold(run, tmp_path):
    """The report of the run, with more in its plan."""

    def told(**more):
        folder = tmp_path / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(run.path, folder)
        plan = json.loads((folder / "plan.json").read_text())
        (folder / "plan.json").write_text(json.dumps(plan | more))
        return render(RunFolder(folder))

    return told


def rows(report):
    lines = report.split("## What papers report\n")[1].split("\n## ")[0].splitlines()
    table = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| ")]
    return [dict(zip(table[0], row, strict=True)) for row in table[1:]]


def test_a_published_number_stands_beside_the_runs_own(run, retold):
    found = rows(retold(published=[{"says": "", "note": ""} | row for row in ROWS]))
    records = [r for r in run.records if (r.point, r.attack, r.access) == ("baseline", "pia", "DENOISER")]
    own = sum(r.metric("auc").value for r in records) / len(records)
    assert found[0]["reported"] == "0.885" and found[0]["this run"].startswith(f"{own:.3f} [")
    assert found[1]["number"] == "TPR at 10 % FPR" and found[1]["reported"] == "13.7 %" and "%" in found[1]["this run"]
    swept = [row for row in found if row["paper"] == "B et al."]
    assert [row["point"] for row in swept] == [p.point for p in run.plan.points if p.defense == "cpsample"]
    assert all("(FD-classifier)" in row["this run"] for row in swept)  # never called FID
    assert found[-1]["this run"] == "-" and found[-1]["reported"] == "unknown to us" and found[-1]["note"] == "why"


def test_a_number_that_is_read_the_other_way_round_says_so(retold, tmp_path):
    retold(published=[{"says": "", "note": ""} | row for row in ROWS])
    folder = next(path.parent for path in tmp_path.rglob("plan.json"))
    for sign, word in ((1.0, ""), (-1.0, " (inverted)")):
        for path in folder.glob("records/baseline__pia__*.json"):
            record = json.loads(path.read_text())
            record.pop("checksum", None)
            record["info"]["orientation"] = sign
            path.write_text(json.dumps(record))
        told = rows(render(RunFolder(folder)))
        assert [row["this run"].partition("]")[2] for row in told[:2]] == [word, word]


def test_a_run_without_papers_or_budget_says_nothing_of_them(retold):
    report = retold()
    assert "What papers report" not in report and "scaled to a budget" not in report
    assert retold(budget=BUDGET | {"changes": []}) == report


def test_what_a_budget_changed_stands_before_all_else(retold):
    head = retold(budget=BUDGET).split("## What was run")[0]
    assert "scaled to a budget of 20 minutes: steps and samples x0.03" in head
    assert "`defense.baseline.steps`: 800,000 -> 24,000" in head and "`network.levels`: the default -> [1, 2]" in head
    assert "sizes for small machines" in retold(budget=BUDGET | {"small": True})

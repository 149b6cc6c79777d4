"""One page of several runs: the same numbers as the runs' own tables, the same bytes for the same folders."""

from __future__ import annotations

import json
from pathlib import Path

from leakbench.reports.reading.tradeoff_text import format_tradeoff
from leakbench.reports.site.page import render, write_page
from leakbench.reports.site.report import render as report_of
from leakbench.results.run_folder import RunFolder


def test_the_page_holds_each_runs_command_table_and_sessions(run, tmp_path):
    (run.path / "history.json").write_text(
        json.dumps([{"command": "leakbench run quick", "seconds": 61.4, "cells": 12, "workers": 2}])
    )
    page = write_page([RunFolder(run.path), RunFolder(run.path)], tmp_path / "docs" / "results.md")
    text = page.read_text()
    _, cells = format_tradeoff(run)
    for row in cells:
        assert text.count("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |") == 2
    assert text.count("`leakbench run quick`: 12 cells in 61 s, workers: 2") == 2
    assert text.count(f"| command | `{run.plan.command_line}` |") == 2


def test_what_a_defense_is_for_stands_on_the_page_as_in_the_report(run, tmp_path):
    said = {"## Guarantees", "## Forgetting", "## Fairness", "## Attribute inference"}
    for folder in (run, *map(RunFolder, sorted((Path(__file__).parents[2] / "docs" / "results").glob("*/")))):
        page, report = render([folder], tmp_path).splitlines(), report_of(folder).splitlines()
        assert said & set(page) == said & set(report)
        assert folder is run or said & set(page)


def test_the_same_folders_give_the_same_page(run, tmp_path):
    assert render([run], tmp_path) == render([RunFolder(run.path)], tmp_path)
    assert str(run.path) not in render([run], run.path.parent)  # folders as seen from the page


def test_a_training_that_ended_early_says_how_many_steps_it_took(tmp_path, tell_run):
    """And what stands on it, whose facts hold its base's, says its own."""
    base = {"point": "overfit", "defense": "overfit", "role": "baseline", "quality": {"frechet_heldout": 1.0}}
    copying = base | {"params": {"steps": 900, "every": 100, "batch": 8}, "facts": {"steps_done": [300, 500]}}
    above = copying | {
        "point": "cpsample",
        "defense": "cpsample",
        "role": "defense",
        "params": {"steps": 70, "batch": 8},
    }
    lines = render([tell_run(tmp_path / "run", [copying, above], seeds=(0, 1))], tmp_path).splitlines()
    starts = [line.split(" | ")[:3] for line in lines if line.startswith(("| overfit | ", "| cpsample | "))]
    assert ["| overfit", "300 and 500 of 900", "8"] in starts and ["| cpsample", "70", "8"] in starts

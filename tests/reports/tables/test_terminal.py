"""The table on a terminal fits it, breaks no interval, and leaves out nothing but what it says below."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from leakbench.reports.reading import tradeoff_short
from leakbench.reports.reading.aggregate import Aggregate
from leakbench.reports.reading.leakage import Leak
from leakbench.reports.reading.tradeoff import list_rows
from leakbench.reports.reading.tradeoff_short import shorten_tradeoff
from leakbench.reports.reading.tradeoff_text import format_tradeoff
from leakbench.reports.tables.columns import fit_table, wrap
from leakbench.reports.tables.terminal import format_short, format_wide, print_table, read_width
from leakbench.statistics import Estimate

LEVELS = ("answers", "weights")
TITLES = ["release", "distance", "answers", "flags"]
CELLS = [
    ["baseline", "1.26 [0.40, 2.26]", "0.99 [0.97, 1.00]", "few-negatives, inverted"],
    ["cpsample alpha=0.25", "3.06 [2.18, 4.12]", "0.84 [0.78, 0.89]", ""],
]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_table_of_a_run_fits_and_holds_every_number(run, width):
    lines = format_short(run, width)
    assert max(map(len, lines)) <= width
    text, short = " ".join(" ".join(lines).split()), shorten_tradeoff(run)
    for row in short.cells:
        for cell in row[1:]:
            value, bracket, bounds = cell.partition(" [")
            assert value in text and (not bracket or f"[{bounds}" in text)


@pytest.mark.parametrize("width", [80, 100])
def test_all_columns_fit_too(run, width):
    lines = format_wide(run, width)
    titles, cells = format_tradeoff(run)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width and all(title in text for title in titles[1:-1])
    assert all(re.search(rf"^ +.* +{re.escape(cell)}$", text, re.MULTILINE) for row in cells for cell in row[1:-1])


def test_a_row_is_one_line_then_two_then_one_a_column():
    assert fit_table(TITLES, CELLS, 100)[2].split("  ")[0] == "baseline" and len(fit_table(TITLES, CELLS, 100)) == 4
    stacked = fit_table(TITLES, CELLS, 60)
    assert [line.split() for line in stacked[2:4]] == [
        ["baseline", "1.26", "0.99", "few-negatives,"],
        ["[0.40,", "2.26]", "[0.97,", "1.00]", "inverted"],
    ]
    assert stacked[5].startswith("  alpha=0.25  [2.18, 4.12]")
    lettered = fit_table(TITLES, CELLS, 49)
    assert lettered[-2:] == ["a: few-negatives", "b: inverted"] and lettered[2].endswith("a b")
    blocks = fit_table(TITLES, CELLS, 40)
    assert blocks[:2] == ["baseline", "  distance  1.26 [0.40, 2.26]"]
    assert all(max(map(len, lines)) <= width for lines, width in ((stacked, 60), (lettered, 49), (blocks, 40)))


def test_an_interval_and_a_word_stay_whole():
    lines = wrap("the distance of real to real images 0.708 [0.000, 1.436] (the floor) of every-point", 50)
    assert [line for line in lines if "[0.000, 1.436]" in line] and max(map(len, lines)) <= 50
    assert wrap("", 50) == [""]


def test_what_is_the_same_everywhere_is_said_once_below(run, monkeypatch):
    own = shorten_tradeoff(run)
    assert own.titles[:4] == ["release", "distance", "answers", "weights"]
    rows = [
        replace(row, leaks=dict.fromkeys(row.leaks, row.leaks["DENOISER"]), flags=["tied-scores", *more])
        for row, more in zip(list_rows(run), [["inverted"], *[[]] * 9], strict=False)
    ]
    same = {"copies": dict.fromkeys(rows[0].copies, next(iter(rows[0].copies.values())))}
    monkeypatch.setattr(tradeoff_short, "list_rows", lambda run: [replace(row, **same) for row in rows])
    table = shorten_tradeoff(run)
    assert table.titles == ["release", "distance", "answers", "flags"]
    assert [row[-1] for row in table.cells] == ["inverted", *[""] * (len(rows) - 1)]
    assert "weights: as answers, at every release" in table.notes
    assert any(re.fullmatch(r"copies, %: 1\d\.\d \[.*\] at every release", note) for note in table.notes)
    assert "every row: tied-scores (report.md explains)" in table.notes


def test_a_leak_that_the_rate_alone_shows_is_said(run, monkeypatch):
    """The AUC is no better than chance, the TPR at the headline rate is: the table, which has no TPR, says so."""
    wide = Aggregate("auc", {0: Estimate(0.52, 0.45, 0.59, 250)})
    sure = Aggregate("tpr@fpr=0.1", {0: Estimate(0.3, 0.2, 0.4, 250)})
    leak = Leak("pia", wide, sure)
    rows = [replace(row, leaks={"DENOISER": leak, "WEIGHTS": leak}) for row in list_rows(run)[:1]]
    monkeypatch.setattr(tradeoff_short, "list_rows", lambda run: rows)
    said = [note for note in shorten_tradeoff(run).notes if "that the AUC does not" in note]
    assert said == [f"{name}: TPR at 10 % FPR shows a leak that the AUC does not, at baseline" for name in LEVELS]


def test_the_width_is_that_of_columns_and_else_100(monkeypatch, capsys, run):
    monkeypatch.setenv("COLUMNS", "80")
    assert read_width() == 80
    print_table(run)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr("sys.__stdout__", None)  # no terminal to ask
    assert read_width() == 100

"""A release has one strongest attack a level: every table and verdict that names it has the same name and number."""

from __future__ import annotations

import re

import pytest

from leakbench.reports.reading.standing import list_standings
from leakbench.reports.reading.tradeoff_text import format_tradeoff
from leakbench.reports.reading.verdicts import list_membership_verdicts
from leakbench.reports.sections.attacks import attack_tables
from leakbench.reports.site.report import render
from leakbench.reports.tables.paper import attacks, tradeoff

LEVELS = ("DENOISER", "WEIGHTS")


@pytest.fixture(scope="module")
def torn(tmp_path_factory, make_run):
    """At each seed another attack is the strongest, as one of the two is left out."""
    path = tmp_path_factory.mktemp("torn")
    return make_run(path, images=False, keep=lambda r: (r.seed, r.attack) not in ((0, "pia"), (1, "secmi")))


@pytest.fixture(params=("run", "army", "torn"))
def any_run(request):
    return request.getfixturevalue(request.param)


def said_by_tradeoff(run):
    """Attack with AUC and the TPR's cell, by point and level."""
    titles, cells = format_tradeoff(run)
    rows = [dict(zip(titles, row, strict=True)) for row in cells]
    rate = next(title for title in titles if title.startswith("DENOISER: TPR")).partition(": ")[2]
    return {(r["point"], lvl): (r[f"{lvl}: strongest, AUC"], r[f"{lvl}: {rate}"]) for r in rows for lvl in LEVELS}


def test_the_attacks_section_says_what_the_tradeoff_says(any_run):
    expected, other = said_by_tradeoff(any_run), attack_tables(any_run)[-1]
    rows = [dict(zip(other.titles, cells, strict=True)) for cells in other.cells]
    rate = next(title for title in other.titles if title.startswith("TPR"))
    for point in [point for point in any_run.plan.points if point.role != "control"]:
        for level in LEVELS:
            first = next(r for r in rows if r["point"] == point.name and level in r["needs"].split(", "))
            assert (f"{first['attack']} {first['AUC']}", first[rate]) == expected[point.name, level]


def test_the_latex_table_of_attacks_has_the_numbers_of_the_tradeoff(any_run):
    headline = any_run.plan.headline
    rows = attacks.collect(any_run).rows
    for row in tradeoff.collect(any_run).rows:
        role = next(point.role for point in any_run.plan.points if point.name == row.words[0])
        for level in LEVELS if role != "baseline" else ():
            first = next(r for r in rows if r.words[0] == row.words[0] and level in r.words[2].split(", "))
            assert first.cells["auc"].found == row.cells[f"{level.lower()}_auc"].found
            assert first.cells[headline].found == row.cells[f"{level.lower()}_{headline}"].found


def test_verdicts_name_the_attack_and_auc_of_the_tradeoff(any_run):
    """To the decimals that both print; where seeds disagree a verdict has no joint number."""
    expected = said_by_tradeoff(any_run)
    for point in any_run.plan.points:
        for verdict in list_membership_verdicts(any_run, point):
            found = re.search(r"AUC (\d\.\d+) \[(\d\.\d+), (\d\.\d+)\]", verdict.words)
            for level in set(verdict.levels) & set(LEVELS):
                attack, *numbers = re.fullmatch(r"(.+) (\S+) \[(\S+), (\S+)\]", expected[point.name, level][0]).groups()
                assert attack == verdict.attack
                if found and "seed" not in verdict.words:
                    said = [float(number) for number in found.groups()]
                    assert said == pytest.approx([float(number) for number in numbers], abs=0.0051)


def test_levels_at_which_the_same_stands_share_a_row_and_queries_are_the_most(torn):
    baseline, weak = torn.plan.points[0], torn.plan.points[3]
    assert [one.levels for one in list_standings(torn, baseline)] == [LEVELS]
    answers, weights = list_standings(torn, weak)
    assert (answers.levels, weights.levels) == (("DENOISER",), ("WEIGHTS",))
    assert weights.collect(torn).attack == "pia / secmi" and weights.queries == 2.0


def section(report, title):
    return report.split(f"## {title}\n")[1].split("\n## ")[0]


def rows_of(text):
    """The rows of all tables of a text, as dictionaries by their titles."""
    found, titles = [], []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")] if line.startswith("| ") else []
        titles = cells if cells and not titles else titles if line.startswith("|") else []
        found += [dict(zip(titles, cells, strict=False))] if cells and cells != titles else []
    return found


def test_no_two_numbers_of_a_report_that_are_called_the_strongest_differ(any_run):
    """Every mention in report.md, read as text: trade-off, verdicts, attacks, audiences, what the defenses moved."""
    report = render(any_run)
    said = {key: cells[0].rsplit(" ", 3) for key, cells in said_by_tradeoff(any_run).items()}
    aucs = {key: " ".join(numbers) for key, (_, *numbers) in said.items()}
    mentions = 0
    tables = re.split(r"At every point, the strongest[^\n]*:\n\n", section(report, "Attacks"))[1]
    seen = set()
    for row in rows_of(tables):
        for level in set(row["needs"].split(", ")) & set(LEVELS) - {lvl for p, lvl in seen if p == row["point"]}:
            seen.add((row["point"], level))
            assert [row["attack"], row["AUC"]] == [said[row["point"], level][0], aucs[row["point"], level]]
            mentions += 1
    assert seen == {(p.name, level) for p in any_run.plan.points if p.role != "control" for level in LEVELS}
    for start, point, text in re.findall(r"From \*\*(.+?)\*\* to \*\*(.+?)\*\*:\n(.*?)\n\n[A-Z]", report, re.DOTALL):
        for level, words in re.findall(r"AUC of the strongest attack at (\w+) (.+)", text):
            numbers = re.findall(r"\d\.\d\d \[\d\.\d\d, \d\.\d\d\]", words)
            assert numbers == [aucs[start, level], aucs[point, level]][-len(numbers) :]
            mentions += 1
    if "## Who may use it" in report:
        for row in rows_of(section(report, "Who may use it")):
            answers = {row.get(f"answers, defense {whom}", "-") for whom in ("known", "unknown")}
            assert " ".join(said[row["point"], "DENOISER"]) in answers
            assert row["weights"] == " ".join(said[row["point"], "WEIGHTS"])
            mentions += 2
    assert mentions > 12


def test_what_calibration_images_put_first_is_not_called_the_strongest(any_run):
    """It can be another attack than the one that stands on the reported images."""
    text = section(render(any_run), "Attacks")
    assert "put first find more than the next" in text and "Is the strongest" not in text

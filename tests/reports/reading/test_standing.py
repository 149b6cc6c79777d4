"""A release has one strongest attack a level: every table and verdict that names it has the same name and number."""

from __future__ import annotations

import re

import pytest

from leakbench.reports.reading.standing import list_standings
from leakbench.reports.reading.tradeoff_text import format_tradeoff
from leakbench.reports.reading.verdicts import list_verdicts
from leakbench.reports.sections.attacks import attack_tables
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
    defenses = [point for point in any_run.plan.points if point.role == "defense"]
    for point in defenses:
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
        for verdict in list_verdicts(any_run, point):
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

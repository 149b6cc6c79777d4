"""report.md says what the records show, both ways, and no more."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from leakbench.reports.reading.access_gaps import list_access_gaps
from leakbench.reports.reading.aggregate import Aggregate
from leakbench.reports.reading.changes import SAME, Change, Move, describe_change
from leakbench.reports.reading.controls import invalidating_attacks, list_controls
from leakbench.reports.reading.leakage import Leak
from leakbench.reports.reading.tradeoff_text import format_tradeoff
from leakbench.reports.reading.verdicts import judge_leak
from leakbench.reports.sections.effects import Effect, list_effects
from leakbench.reports.sections.flags import list_raised_flags
from leakbench.reports.site.report import render, write_markdown
from leakbench.results.record import Metric
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Estimate, auc, delong_pair, family_wise


@pytest.fixture(scope="module")
def report(run):
    return render(run)


def section(report, title):
    return report.split(f"## {title}\n")[1].split("\n## ")[0]


def plain(report):
    return " ".join(report.split())


def test_written_into_the_run_and_the_same_twice(run, report):
    paths = write_markdown(run)
    assert paths == [run.path / "report.md", run.path / "report_tables.csv"]
    first = paths[0].read_bytes()
    assert write_markdown(RunFolder(run.path))[0].read_bytes() == first


def test_names_the_distance_by_its_features(report):
    assert "FD-classifier" in report
    assert not re.search(r"\bFID\b", report)


def test_says_what_was_run(report):
    what = section(report, "What was run")
    assert "| data set | digits |" in what and "| seeds | 0, 1 |" in what
    assert "| split: near duplicates removed | 12 |" in what
    assert "    leakbench run quick --set split.members=400\n" in section(report, "How to reproduce")


def test_holds_the_table(run, report):
    titles, rows = format_tradeoff(run)
    lines = [line for line in section(report, "The trade-off").splitlines() if line.startswith("|")]
    assert lines[0] == "| " + " | ".join(titles) + " |"
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {row[0]}" for row in rows]
    assert all(line.count("|") == len(titles) + 1 for line in lines)


def test_tables_have_no_gap(report):
    """A blank line within a table would end it."""
    for title in ("What was run", "The trade-off", "What is answered against what ships", "Negative controls"):
        assert len(re.findall(r"(?m)(?:^\|.*\n)+", section(report, title))) == 1


def test_no_more_than_one_empty_line_at_a_time(run, army, tell_run, tmp_path):
    told = tell_run(tmp_path, [{"point": "baseline", "defense": "baseline", "role": "baseline"}])
    for each in (run, army, told):
        assert "\n\n\n" not in render(each)


def test_without_a_defense_nothing_is_said_of_what_moved(report, tell_run, tmp_path):
    told = tell_run(tmp_path, [{"point": "baseline", "defense": "baseline", "role": "baseline"}])
    rule = "compared in pairs, sample by sample"
    assert rule in plain(section(report, "What the defenses moved"))
    moved = section(render(told), "What the defenses moved")
    assert "No defense is compared in this run." in moved and rule not in plain(moved)


def test_verdicts_are_two_sided(report):
    judged = section(report, "Verdicts")
    assert re.search(r"- \*\*cpsample alpha=0\.5\*\*\n  - DENOISER, by [\w /]+: no leak found: AUC 0\.[45]", judged)
    levels = re.findall(r"  - ([A-Z, ]+), by pia: leaks: TPR \d\d % at FPR 10 % \[.*\]; AUC 0\.9", judged)
    assert levels.count("DENOISER, WEIGHTS") == 2  # baseline and reject_resample: one computation
    assert levels.count("WEIGHTS") == 4  # cpsample
    assert "Without touching the model, blind: no leak found" in judged


def leak(*estimates):
    return Leak("loss", Aggregate("auc", dict(enumerate(estimates))), None)


def test_verdicts_of_disagreeing_seeds_are_not_averaged():
    high, low, none = Estimate(0.9, 0.8, 0.95, 300), Estimate(0.1, 0.05, 0.2, 300), Estimate(0.5, 0.45, 0.55, 300)
    assert judge_leak(leak(high, high)).startswith("leaks: AUC 0.90")
    assert judge_leak(leak(low)).startswith("leaks, inverted")
    assert judge_leak(leak(high, low)).startswith("seeds disagree: seed 0: leaks: AUC 0.90")
    assert "seed 1: no leak found" in judge_leak(leak(high, none))
    assert "no interval" in judge_leak(leak(Estimate(0.9, float("nan"), float("nan"), 300)))
    assert "nothing to judge" in judge_leak(Leak("", None, None))


def test_what_moved(run, report):
    *sweep, reject = list_effects(run)
    cpsample = sweep[-1]
    swept = [p.point for p in run.plan.points if p.defense == "cpsample"]
    assert [effect.point.name for effect in sweep] == swept  # every point: none is picked by its result
    assert cpsample.reference.name == "baseline"
    assert [c.kind for c in cpsample.membership] == ["fell", ""]  # the answers are protected, the weights are not
    assert [c.kind for c in cpsample.copying] == ["fell", "fell"] and cpsample.quality.kind == "rose"
    assert [c.kind for c in reject.copying] == ["fell", "fell"] and reject.quality.kind == ""
    moved = section(report, "What the defenses moved")
    assert re.search(
        r"copying beyond its null \(pixels\) fell from 1\d\.\d % \[.*\] to \d\.\d % \[.*\] \(p < 0\.001\)\.", moved
    )
    assert "which does not show that quality is unharmed" in moved


@pytest.mark.parametrize(
    ("move", "kind", "words"),
    [
        (Move("fell", 0.049), "fell", "x fell from a to b (p 0.049)"),
        (Move("rose", 0.0001), "rose", "x rose from a to b (p < 0.001)"),
        (Move("rose", 0.05), "", "x: no change was shown, from a to b (p 0.050)"),
        (Move(SAME, 1.0), "", "x is the same, number for number: b"),
        (None, "", "x: not measured on both sides"),
    ],
)
def test_a_change_says_what_was_shown(move, kind, words):
    assert describe_change("x", move, "a", "b") == Change(kind, words)


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["fell", "fell"], "Copying fell;"),
        (["fell", ""], "Copying fell by 1 of 2 measures;"),
        (["fell", "rose"], "Copying fell by 1 of 2 measures and rose by 1 of 2 measures;"),
        (["", ""], "Copying was not shown to change;"),
        ([], "The distance to held-out data rose (samples moved away from real data); copying was not measured."),
    ],
)
def test_a_conclusion_counts_the_measures_that_agree(run, kinds, words):
    first = list_effects(run)[0]
    effect = Effect(first.reference, first.point, (), [], [Change(kind, "") for kind in kinds], Change("rose", ""))
    assert effect.conclusion.startswith(words) and "samples moved away" in effect.conclusion


def test_answers_against_weights(run):
    found = list_access_gaps(run)
    assert {gap.point for gap in found} == {p.point for p in run.plan.points if p.defense == "cpsample"}
    gap = next(g for g in found if (g.point, g.attack) == ("cpsample alpha=0.5", "pia"))
    assert gap.difference.mean == pytest.approx(gap.weights.mean - gap.denoiser.mean)
    records = [r for r in run.records if (r.point, r.attack) == (gap.point, "pia")]
    pairs = []
    for seed in (0, 1):
        sides = {r.access: run.arrays(r) for r in records if r.seed == seed}
        scores = [sides[a][n] for a in ("WEIGHTS", "DENOISER") for n in ("member_scores", "nonmember_scores")]
        pairs.append(delong_pair(*scores).difference)
    assert (gap.difference.low, gap.difference.high) == (min(p.low for p in pairs), max(p.high for p in pairs))


def test_a_negative_gap_is_not_cut(tmp_path, make_run):
    """Where the answers leak more than the weights, it is said so."""

    def swapped(record):
        other = {"DENOISER": "WEIGHTS", "WEIGHTS": "DENOISER"}
        return record.model_copy(update={"access": other[record.access]})

    wanted = ("cpsample alpha=0.5", "pia")
    run = make_run(tmp_path, keep=lambda r: (r.point, r.attack) == wanted, change=swapped)
    (gap,) = list_access_gaps(run)
    assert gap.difference.high < 0


def test_controls_are_judged_as_a_family(run, report):
    found = list_controls(run)
    assert len(found) == 2 * 4  # blind, and three attacks on the untrained network: equal arrays count once
    record = next(r for r in run.records if (r.attack, r.seed) == ("blind", 0))
    scores = [run.arrays(record)[name] for name in ("member_scores", "nonmember_scores")]
    assert found[0].auc == auc(*scores, level=family_wise(0.99, 8))
    assert "read with the sign that the calibration images" in section(report, "Negative controls")
    assert "All controls behave." in report and not invalidating_attacks(run)


def test_a_split_that_leaks_voids_the_track(tmp_path, make_run, run):
    from leakbench.results.record_files import save_record

    other = make_run(tmp_path, keep=lambda r: r.point == "baseline" and r.attack != "blind")
    record = next(r for r in run.records if r.attack == "blind")
    scores = run.arrays(record)
    save_record(tmp_path, record, scores | {"member_scores": scores["member_scores"] + 2})
    report = render(other)
    assert "> **This track is void**" in report and "blind, seed 0" in report
    assert "**A control misbehaves.**" in report


def test_the_blind_baseline_never_stands_for_the_model(tmp_path, make_run):
    """What never touches the model cannot show its leak, however well it did on the calibration images."""

    def change(record):
        metrics = [Metric(name="calibration_auc", value=0.99 if record.attack == "blind" else 0.6, n=250)]
        return record.model_copy(update={"metrics": [*record.metrics[:-1], *metrics]})

    keep = {"blind", "loss"}
    report = render(make_run(tmp_path, keep=lambda r: r.attack in keep and r.point == "baseline", change=change))
    assert "DENOISER, WEIGHTS, by loss: leaks" in report


def test_flags_are_explained(run, report):
    assert [flag.name for flag in list_raised_flags(run)] == ["few-negatives"]
    assert "is not used to rank" in section(report, "Health flags")


def test_figures_are_embedded_by_relative_path(tmp_path, make_run):
    run = make_run(tmp_path, keep=lambda r: r.family in {"quality", "membership"}, images=False)
    figures = section(render(run), "Figures")
    assert "`tradeoff` was not drawn: figures were not asked for" in figures
    assert "`pairs` was not drawn: no record holds images" in figures
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "tradeoff.png").write_bytes(b"")
    figures = section(render(run), "Figures")
    assert "![tradeoff](figures/tradeoff.png)" in figures
    assert "In WEIGHTS the points (controls aside) leak alike" in figures


def test_an_empty_run_has_a_report(tmp_path, make_run):
    report = render(make_run(tmp_path, keep=lambda r: False))
    assert "No records were found" in report and "None were run" in report
    assert "nothing to judge" in report and "Planned but not measured: baseline," in report


def test_a_plan_with_the_least_and_with_strange_names(tmp_path, make_run):
    run = make_run(tmp_path, seeds=(0,), keep=lambda r: r.point == "baseline")
    points = [{"point": "a|b", "defense": "a", "role": "defense"}]
    (tmp_path / "plan.json").write_text(json.dumps({"suite": "x", "points": points}))
    report = render(RunFolder(run.path))
    assert "| a\\|b |" in report
    assert "left out below: baseline" in report
    assert "does not say by which command" in report


def test_one_seed_and_three_seeds_say_what_their_intervals_hold(tmp_path, make_run):
    one = make_run(tmp_path / "one", seeds=(0,), keep=lambda r: r.attack == "loss" and r.point == "baseline")
    three = make_run(tmp_path / "three", seeds=(0, 1, 2), keep=lambda r: r.attack == "loss" and r.point == "baseline")
    assert "of the one seed" in render(one)
    assert "3 seeds: their mean" in render(three)


def test_without_arrays_the_records_own_numbers_are_used(run, tmp_path, make_run):
    other = make_run(
        tmp_path, keep=lambda r: r.point in {"untrained", "cpsample alpha=0.5"} and r.family == "membership"
    )
    for path in (tmp_path / "records").glob("*.json"):
        record = json.loads(path.read_text())
        del record["checksum"]
        path.write_text(json.dumps(record | {"arrays": ""}))
    assert not any(control.exact for control in list_controls(other))
    assert all(np.isnan(gap.difference.low) and gap.difference.mean > 0.1 for gap in list_access_gaps(other))

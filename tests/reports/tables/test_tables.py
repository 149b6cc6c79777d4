"""The tables hold what the records hold, in the columns that were promised, and the same bytes every time."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest

from leakbench.reports.reading.aggregate import Aggregate, aggregate, ratio_of_means, summarise
from leakbench.reports.reading.family import find_corrected
from leakbench.reports.reading.formatting import (
    distance_title,
    drop_empty_columns,
    format_ci,
    format_distance,
    format_percent,
    format_ratio,
    format_significant,
    rate_title,
)
from leakbench.reports.reading.points import list_sweeps
from leakbench.reports.reading.selection import copy_attacks
from leakbench.reports.reading.strongest import (
    calibration_strength,
    chosen_on_calibration,
    most_protective,
    strongest,
    strongest_by_rate,
)
from leakbench.reports.reading.tradeoff import tradeoff_table
from leakbench.reports.reading.tradeoff_text import format_tradeoff
from leakbench.reports.tables.csv_files import write_csv
from leakbench.results.metric_specs import find_metric
from leakbench.results.record import Metric
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Estimate, Summary

COLUMNS = (
    "suite,dataset,model,defense,point,defense_params,attack,attack_params,features,access,seed,metric,title,better,"
    "value,ci_low,ci_high"
)
WHO = "suite,dataset,model,defense,point,defense_params,attack,attack_params,features,access"


def read(path):
    return list(csv.DictReader(io.StringIO(path.read_text())))


@pytest.fixture(scope="module")
def tables(run):
    return {path.name: path for path in write_csv(run)}


def test_columns_are_exact(tables):
    first = {name: path.read_text().split("\n")[0] for name, path in tables.items()}
    leak = "attack,auc,auc_low,auc_high,rate_attack,tpr@fpr=0.1,tpr@fpr=0.1_low,tpr@fpr=0.1_high,confidence"
    copies = [f"copy_rate{of}{end}" for of in ("_excess", "", "_null") for end in ("", "_low", "_high")]
    spread = [f"{name}{end}" for name in ("before", "after", "difference") for end in ("", "_low", "_high")]
    assert first == {
        "verdicts.csv": f"point,role,access,attackers,kind,{leak},{','.join(copies)},defeated_by,verdict",
        "attacks.csv": f"point,access,kind,seeds,{leak},p_corrected,queries",
        "differences.csv": f"kind,point,against,quantity,attack,{','.join(spread)},direction,shown,p_corrected",
        "controls.csv": "control,auc,auc_low,auc_high,holds_half,exact",
        "results.csv": COLUMNS + ",n,queries,flags",
        "summary.csv": WHO + ",metric,title,better,mean,low,high,minimum,maximum,seeds,flags",
        "timings.csv": "point,attack,access,seed,name,seconds",
    }


def test_results_read_back_as_the_records(run, tables):
    def kept(record, metric):
        """`few-negatives` speaks of TPRs at an FPR below 10 / nonmembers, and of no other metric."""
        scarce = metric.name.startswith("tpr@fpr=") and float(metric.name[8:]) < 10 / record.metric("auc").n
        return [flag for flag in record.flags if flag != "few-negatives" or scarce]

    expected = [
        (r.defense, r.defense_params, r.attack, r.access, r.seed, m.name, m.value, m.ci_low, m.ci_high, m.n, kept(r, m))
        for r in run.records
        for m in r.metrics
    ]
    found = [
        (
            *(row["defense"], json.loads(row["defense_params"]), row["attack"], row["access"], int(row["seed"])),
            *(row["metric"], *(float(row[k]) if row[k] else None for k in ("value", "ci_low", "ci_high"))),
            *(int(row["n"]), row["flags"].split(";") if row["flags"] else []),
        )
        for row in read(tables["results.csv"])
    ]
    assert found == expected


def test_parameters_are_compact_sorted_json(tables):
    params = {row["defense_params"] for row in read(tables["results.csv"]) if row["defense"] == "cpsample"}
    assert '{"alpha":0.001,"baseline.steps":8000}' in params


def test_no_seconds_but_in_timings(run, tables):
    assert "second" not in tables["results.csv"].read_text() + tables["summary.csv"].read_text()
    rows = read(tables["timings.csv"])
    assert len(rows) == 2 * len(run.records)
    assert {(row["name"], float(row["seconds"])) for row in rows} == {("prepare", 0.25), ("score", 1.5)}


def test_summary_joins_the_seeds(run, tables):
    rows = [r for r in read(tables["summary.csv"]) if (r["attack"], r["metric"]) == ("loss", "auc")]
    assert len(rows) == 2 * len(run.plan.points)
    for row, level in ((rows[0], "DENOISER"), (rows[1], "WEIGHTS")):
        pair = [r.metric("auc") for r in run.records if (r.point, r.attack, r.access) == ("baseline", "loss", level)]
        assert float(row["mean"]) == pytest.approx(np.mean([m.value for m in pair]))
        assert (float(row["low"]), float(row["high"])) == (min(m.ci_low for m in pair), max(m.ci_high for m in pair))
        assert (float(row["minimum"]), row["seeds"]) == (min(m.value for m in pair), "2")


def test_what_is_unknown_is_empty(tables):
    rows = {r["metric"]: r for r in read(tables["summary.csv"]) if r["defense"] == "baseline"}
    assert (rows["recall"]["mean"], rows["recall"]["low"], rows["recall"]["seeds"]) == ("", "", "0")
    assert rows["unique_copies"]["mean"] and not rows["unique_copies"]["low"]  # no interval is made up


def test_bytes_do_not_depend_on_the_order_of_writing(tmp_path, make_run, run, tables):
    other = make_run(tmp_path, order=-1)
    again = {path.name: path.read_bytes() for path in write_csv(other)}
    assert again == {name: path.read_bytes() for name, path in tables.items()}
    assert format_tradeoff(other) == format_tradeoff(run)


def test_tables_import_no_matplotlib():
    code = (
        "import sys, leakbench.reports.tables as t; sys.exit(any(m in sys.modules for m in ('matplotlib', 'jinja2')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_strongest_has_the_largest_corrected_lower_bound(run):
    """Against a brute force over all records that touch the model; at some point calibration would have picked another
    attack, or one that the reported images show to be weaker."""
    allowed, others = {"DENOISER": {"DENOISER"}, "WEIGHTS": {"DENOISER", "WEIGHTS"}}, 0
    for point in run.plan.points:
        for level, accesses in allowed.items():
            for seed, chosen in strongest(run, point, level).items():
                rivals = [
                    r for r in run.records if r.family == "membership" and (r.point, r.seed) == (point.name, seed)
                ]
                rivals = [r for r in rivals if r.access in accesses]
                least = [find_corrected(run, r).least for r in rivals]
                assert find_corrected(run, chosen).least == max(least) and chosen.access in accesses
                others += chosen_on_calibration(rivals)[seed].attack != chosen.attack
    assert others


def recalibrated(values):
    """Sets `calibration_auc` by attack."""

    def change(record):
        if record.attack not in values:
            return record
        metrics = [m for m in record.metrics if m.name != "calibration_auc"]
        if values[record.attack] is not None:
            metrics.append(Metric(name="calibration_auc", value=values[record.attack], n=250))
        return record.model_copy(update={"metrics": metrics})

    return change


def only_baseline(record):
    return record.point == "baseline" and record.family == "membership"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"loss": 0.2, "pia": 0.7, "secmi": 0.7, "blind": 0.5}, "loss"),  # two-sided
        ({"loss": 0.5, "pia": 0.7, "secmi": 0.3, "blind": 0.5}, "pia"),  # equals: the first name
        ({"loss": 0.5, "pia": None, "secmi": 0.6, "blind": 0.5}, "secmi"),  # not calibrated: not chosen
        ({"loss": 0.5, "pia": 0.6, "secmi": 0.6, "blind": 0.9}, "blind"),
        ({"loss": None, "pia": None, "secmi": None, "blind": None}, None),
    ],
)
def test_choice_on_calibration(tmp_path, make_run, values, expected):
    run = make_run(tmp_path, keep=only_baseline, change=recalibrated(values))
    chosen = chosen_on_calibration(run.records)
    assert {r.attack for r in chosen.values()} == ({expected} if expected else set())
    assert all(calibration_strength(r) is not None for r in chosen.values())


def test_table_shows_the_reported_auc_of_the_chosen(run):
    table = tradeoff_table(run).set_index("point")
    point = run.plan.points[2]
    chosen = list(strongest(run, point, "DENOISER").values())
    assert table.loc[point.name, "denoiser_auc"] == pytest.approx(np.mean([r.metric("auc").value for r in chosen]))
    corrected = [find_corrected(run, record) for record in chosen]
    assert table.loc[point.name, "denoiser_auc_low"] == min(one.auc.low for one in corrected)
    assert all(one.auc.low < r.metric("auc").ci_low for one, r in zip(corrected, chosen, strict=True))
    rated = [find_corrected(run, r).tpr for r in strongest_by_rate(run, point, "DENOISER").values()]
    assert table.loc[point.name, "denoiser_tpr@fpr=0.1_low"] == min(tpr.low for tpr in rated)
    assert list(table.index) == [p.point for p in run.plan.points]


def test_below_one_half_is_flagged(tmp_path, make_run):
    """A record whose scores were not kept stands with its own interval, stretched."""

    def turned(record):
        metrics = [Metric(name="auc", value=0.1, ci_low=0.05, ci_high=0.2, n=250), *record.metrics[1:]]
        return record.model_copy(update={"metrics": metrics, "arrays": ""})

    make_run(tmp_path, keep=only_baseline, change=turned)
    for path in (tmp_path / "arrays").glob("*"):
        path.unlink()
    table = tradeoff_table(RunFolder(tmp_path))
    assert "inverted" in table["flags"][0].split(";") and 0.2 < table["weights_auc_high"][0] < 0.25


def test_text_has_a_cell_a_title_and_numbers_as_people_read_them(run):
    titles, rows = format_tradeoff(run)
    assert all(len(row) == len(titles) for row in rows)
    assert titles[1] == "FD-classifier, held-out"
    assert "DENOISER: TPR at 10 % FPR" in titles
    assert rows[0][titles.index("WEIGHTS: strongest, AUC")].startswith("pia 0.9")


def test_a_point_without_records_has_a_row_without_numbers(tmp_path, make_run):
    run = make_run(tmp_path, keep=lambda r: r.point != "reject_resample")
    titles, rows = format_tradeoff(run)
    row = next(row for row in rows if row[0] == "reject_resample")
    assert row[1:] == ["-"] * (len(titles) - 2) + [""]
    assert np.isnan(tradeoff_table(run).set_index("point").loc["reject_resample", "frechet_heldout"])


def test_an_empty_run_is_a_table_of_dashes(tmp_path, make_run):
    run = make_run(tmp_path, keep=lambda r: False)
    assert [path.read_text().count("\n") for path in write_csv(run)[:5]] == [1, 1, 1, 1, 1]
    assert len(tradeoff_table(run)) == len(run.plan.points)


def test_of_points_with_fewer_copies_than_chance_the_least_leaking_is_the_most_protective(make_run, tmp_path):
    """-5 % are nothing better than -1 %: neither copies, and alpha=0.5 answers as if it had no members."""
    values = {"cpsample alpha=0.25": -0.05, "cpsample alpha=0.5": -0.01}

    def change(record):
        if record.metric("copy_rate_excess") is None or record.point not in values:
            return record
        kept = [one for one in record.metrics if one.name != "copy_rate_excess"]
        found = Metric(name="copy_rate_excess", value=values[record.point], n=600)
        return record.model_copy(update={"metrics": [*kept, found]})

    run = make_run(tmp_path, seeds=(0,), images=False, change=change)
    assert most_protective(run, list_sweeps(run)["cpsample"]).name == "cpsample alpha=0.5"


def test_most_protective_has_the_least_copying(run):
    sweep = list_sweeps(run)["cpsample"]
    means = {}
    for point in sweep:
        found = [[r for r in run.records if (r.point, r.attack) == (point.name, a)] for a in copy_attacks(run)]
        means[point] = sum(aggregate(records, "copy_rate_excess").summary.mean for records in found)
    assert most_protective(run, sweep) == min(means, key=means.get)


def test_words():
    found = Summary(0.126, 0.101, 0.14, 0.1, 0.15, 2)
    unknown = Summary(0.126, float("nan"), float("nan"), 0.1, 0.15, 2)
    assert format_ci(found) == "0.13 [0.10, 0.14]"
    assert (format_ci(unknown), format_ci(None)) == ("0.13", "-")
    assert format_percent(found) == "12.6 % [10.1, 14.0]"
    assert format_percent(Summary(-0.0001, -0.01, 0.0, 0, 0, 1)) == "0.0 % [-1.0, 0.0]"
    assert format_distance(Summary(123.4, 120.2, 130.0, 0, 0, 1)) == "123 [120, 130]"
    assert format_distance(Summary(0.01234, 0.01, 0.02, 0, 0, 1)) == "0.0123 [0.0100, 0.0200]"
    titles = [distance_title(name) for name in ("inception", "classifier", "torchscript:inception")]
    assert titles == ["FID", "FD-classifier", "FD-torchscript:inception"]
    assert (rate_title("tpr@fpr=0.001"), rate_title("auc")) == ("TPR at 0.1 % FPR", "auc")
    numbers = (0.0, 0.01234, 2.986, 99.96, 12345.6, 1e-5)
    assert [format_significant(x) for x in numbers] == ["0", "0.0123", "2.99", "100.0", "12,300", "1e-05"]
    assert [format_ratio(x) for x in (0.9996, 0.145, 35.12, 0.0283, 1234.0)] == [
        "1.00x",
        "0.14x",
        "35.1x",
        "0.0283x",
        "1,230x",
    ]
    assert drop_empty_columns(["a", "b", "c"], [["1", "-", "-"], ["2", "-", "3"]]) == (
        ["a", "c"],
        [["1", "-"], ["2", "3"]],
    )


def test_a_difference_may_be_negative():
    assert find_metric("copy_rate_excess").bounds == (-1.0, 1.0)
    assert find_metric("auc").bounds == (0.0, 1.0) and find_metric("difference").bounds[0] < -1
    signed = ("copy_rate_published_excess", "forget_auc_excess", "relearn_excess", "attribute_auc_excess")
    assert {find_metric(metric).bounds for metric in signed} == {(-1.0, 1.0)}
    counted = ("relearn_steps_retrained", "unique_copies@samples=125", "epsilon_lower_bayes", "psnr_distance_ratio")
    assert {find_metric(metric).bounds for metric in counted} == {(0.0, float("inf"))}
    assert find_metric("kid").bounds == (-float("inf"), float("inf"))


@pytest.mark.parametrize(
    "metric",
    [
        *("oriented_auc", "oriented_tpr@fpr=0.1", "forget_auc", "oriented_forget_auc", "attribute_auc"),
        *("attribute_auc_trained", "attribute_reader_auc", "attribute_balance", "attribute_balance_real"),
        *("forget_probability", "forget_probability_real", "forget_auc_retrained", "relearn_probability_retrained"),
        *("set_p_value@images=20", "set_null_p_value@images=5", "copy_rate_published_null", "ams_high_ordinary"),
        *("forget_vs_retained_auc_retrained", "grouped_rate_null", "attribute_auc_null", "canary_auc"),
    ],
)
def test_an_interval_over_seeds_leaves_no_rate(metric):
    """Seeds far apart make Student's interval wider than the range of a rate."""
    apart = [Estimate(value, value - 0.01, value + 0.01, 100) for value in (0.05, 0.5, 0.95)]
    found = summarise(metric, apart)
    assert (found.low, found.high) == (0.0, 1.0)


def test_a_ratio_is_of_the_seeds_that_both_have():
    def measured(**values):
        return Aggregate("x", {int(seed[1:]): Estimate(v, v, v, 1) for seed, v in values.items()})

    assert ratio_of_means(measured(s0=3.0, s1=9.0), measured(s0=2.0, s1=2.0)) == 3.0
    assert ratio_of_means(measured(s0=3.0, s1=9.0), measured(s1=2.0, s2=50.0)) == 4.5
    assert ratio_of_means(measured(s0=3.0), measured(s1=2.0)) is None
    assert ratio_of_means(measured(s0=3.0), measured(s0=0.0)) is None
    assert ratio_of_means(None, measured(s0=2.0)) is None


def test_seconds_of_the_last_step_are_in_the_timings(tmp_path, tell_run):
    point = {"point": "baseline", "defense": "baseline", "role": "baseline"}
    write_csv(tell_run(tmp_path, [point | {"timings": {"train": [9.0, 8.0], "train_last": [2.0, 1.5]}}], seeds=(0, 1)))
    rows = [(row["seed"], row["seconds"]) for row in read(tmp_path / "timings.csv") if row["name"] == "train_last"]
    assert rows == [("0", "2.0"), ("1", "1.5")]


def test_new_metrics_reach_every_table(tmp_path, tell_run):
    point = {"point": "baseline", "defense": "baseline", "role": "baseline"}
    quality = {"forget_probability": [(0.2, 0.1, 0.3), (0.4, 0.3, 0.5)], "network_evaluations": [10.0, 30.0]}
    write_csv(tell_run(tmp_path, [point | {"quality": quality}], seeds=(0, 1)))
    assert {row["metric"] for row in read(tmp_path / "results.csv")} == set(quality)
    found = {row["metric"]: row for row in read(tmp_path / "summary.csv")}
    assert float(found["forget_probability"]["mean"]) == pytest.approx(0.3)
    assert (found["forget_probability"]["low"], found["forget_probability"]["high"]) == ("0.1", "0.5")
    assert (found["network_evaluations"]["mean"], found["network_evaluations"]["low"]) == ("20.0", "")

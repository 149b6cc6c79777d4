"""`leakbench.load` and its Results: the numbers of the files that the command line wrote, and errors in one line."""

from __future__ import annotations

import csv
import json
import math
import pickle
import re
import shutil
from html import escape

import pandas as pd
import pytest

import leakbench as lb
from leakbench.reports.reading.tradeoff_short import shorten_tradeoff
from leakbench.reports.tables.csv_files import SUMMARY, summary
from leakbench.results.run_folder import RunFolder


@pytest.fixture(scope="module")
def results(finished):
    return lb.load(finished.out)


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def number(text):
    return float(text) if text else math.nan


def test_metrics_are_those_of_results_csv(results, finished):
    rows = rows_of(finished.out / "results.csv")
    assert len(rows) > 100
    for row in rows:
        found = results.metric(row["point"], row["attack"], row["metric"], row["access"], int(row["seed"]), raw=True)
        written = [number(row[key]) for key in ("value", "ci_low", "ci_high")]
        assert [found.value, found.low, found.high] == pytest.approx(written, abs=0, nan_ok=True)
        assert found.n == int(row["n"])


def test_the_table_holds_the_numbers_of_summary_csv(results, finished):
    rows = rows_of(finished.out / "summary.csv")

    def written(point, attack, metric):
        """Value and interval at every access level: what is found with less access counts at WEIGHTS as well."""
        found = [row for row in rows if (row["point"], row["attack"], row["metric"]) == (point, attack, metric)]
        return [[number(row[key]) for key in ("mean", "low", "high")] for row in found]

    table = results.table()
    assert list(table["point"]) == ["baseline", "cpsample alpha=0.25", "cpsample alpha=0.5"]
    for row in table.to_dict("records"):
        columns = {name: ("quality", name) for name in ("frechet_heldout", "frechet_floor", "frechet")}
        columns["copy_rate_excess_pixels"] = ("nearest_copy", "copy_rate_excess")
        for column, (attack, metric) in columns.items():
            assert [row[f"{column}{end}"] for end in ("", "_low", "_high")] in written(row["point"], attack, metric)
        for level in ("denoiser", "weights"):  # by attack as recorded, with an interval that holds for all attacks
            for metric, who in (("auc", "attack"), ("tpr@fpr=0.1", "rate_attack")):
                value, low, high = (row[f"{level}_{metric}{end}"] for end in ("", "_low", "_high"))
                attack = row[f"{level}_{who}"].removesuffix(" (inverted)")
                found = [one for one in written(row["point"], attack, f"oriented_{metric}") if one[0] == value]
                assert found and all(low <= one[1] and one[2] <= high for one in found)


def test_the_table_holds_what_the_terminal_shows(results, finished):
    lines = finished.outcome.out.splitlines()
    for row in results.table().to_dict("records"):
        (line,) = [line for line in lines if line.startswith(f"{row['point']} ")]
        assert f"{row['denoiser_auc']:.2f} [{row['denoiser_auc_low']:.2f}, " in line
        assert f" {row['frechet_heldout']:.1f} [{row['frechet_heldout_low']:.1f}, " in line


def test_the_table_is_a_data_frame_with_all_cells_and_shows_few_columns(results, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    table = results.table()
    assert isinstance(table, pd.DataFrame) and len(table.columns) > 25
    lines = str(table).splitlines()
    assert lines[0].split() == str(results).splitlines()[2].split() and "release" in lines[0]
    assert repr(table) == str(table) and max(map(len, lines)) <= 80 and "weights_auc" not in str(table)
    assert f"a DataFrame of {len(table.columns)} columns" in lines[-1]
    for made in (table.copy(), table.set_index("point"), table[["point", "seeds"]], pickle.loads(pickle.dumps(table))):
        assert type(made) is pd.DataFrame
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(table)), pd.DataFrame(table))
    table["mine"] = 1  # it is another table now, and pandas shows it
    assert "mine" in str(table) and "mine" in table._repr_html_()


@pytest.fixture
def two_seeds(finished, tmp_path):
    """The finished run, and beside each record one of seed 1 with other values."""
    shutil.copytree(finished.out, tmp_path / "run")
    for path in (tmp_path / "run" / "records").glob("*.json"):
        record = json.loads(path.read_text())
        del record["checksum"]
        for metric in record["metrics"]:
            for key in ("value", "ci_low", "ci_high"):
                metric[key] = None if metric[key] is None else metric[key] * 0.9
            metric["n"] = max(1, metric["n"] - 1)
        record["seed"] = 1
        path.with_name(path.name.replace("seed0", "seed1")).write_text(json.dumps(record))
    return tmp_path / "run"


def test_over_the_seeds_a_metric_is_that_of_summary_csv(two_seeds, results):
    found = lb.load(two_seeds)
    rows = [dict(zip(SUMMARY, row, strict=True)) for row in summary(RunFolder(two_seeds))]
    (row,) = [
        row
        for row in rows
        if (row["point"], row["attack"], row["access"], row["metric"]) == ("baseline", "pia", "WEIGHTS", "oriented_auc")
    ]
    assert row["seeds"] == 2
    both = found.metric("baseline", "pia", "auc", "WEIGHTS")
    assert [both.value, both.low, both.high] == [row["mean"], row["low"], row["high"]]
    first = results.metric("baseline", "pia", "auc", "WEIGHTS")
    assert found.metric("baseline", "pia", "auc", "WEIGHTS", seed=0) == first
    assert (both.n, found.metric("baseline", "pia", "auc", "WEIGHTS", seed=1).n) == (first.n - 1, first.n - 1)


def test_seeds_that_leak_either_way_round_are_not_averaged_to_nothing(two_seeds, results):
    """At seed 1 members score lower, on the calibration images too: the attack is read the other way round there."""
    path = two_seeds / "records" / "baseline__pia__WEIGHTS__seed1.json"
    told = json.loads(path.read_text())
    for metric in told["metrics"]:
        if metric["name"] == "auc":
            metric["value"], metric["ci_low"], metric["ci_high"] = (
                1 - metric[key] for key in ("value", "ci_high", "ci_low")
            )
    path.write_text(json.dumps(told))
    found = lb.load(two_seeds)
    read, raw = (results.metric("baseline", "pia", "auc", "WEIGHTS", raw=raw).value for raw in (False, True))
    assert found.metric("baseline", "pia", "auc", "WEIGHTS").value == pytest.approx((read + 0.9 * read) / 2)
    over_both = found.metric("baseline", "pia", "auc", "WEIGHTS", raw=True)
    assert over_both.value == pytest.approx((raw + 1 - 0.9 * raw) / 2)


def test_without_an_access_level_it_is_what_the_service_answers(results):
    point = "cpsample alpha=0.5"
    assert results.metric(point, "pia", "auc") == results.metric(point, "pia", "auc", "DENOISER")
    assert results.metric(point, "pia", "auc") != results.metric(point, "pia", "auc", "WEIGHTS")


def test_a_metric_that_could_not_be_computed_is_nan(finished, tmp_path):
    shutil.copytree(finished.out, tmp_path / "run")
    path = tmp_path / "run" / "records" / "baseline__pia__DENOISER__seed0.json"
    record = json.loads(path.read_text())
    del record["checksum"]
    record["metrics"][0] |= {"value": None, "ci_low": None, "ci_high": None}
    path.write_text(json.dumps(record))
    found = lb.load(tmp_path / "run").metric("baseline", "pia", record["metrics"][0]["name"], raw=True)
    assert math.isnan(found.value) and math.isnan(found.low) and found.n == record["metrics"][0]["n"]


WRONG = {
    "point": (("baselin", "pia", "auc"), ["no point 'baselin'", "did you mean 'baseline'?"]),
    "sweep": (("cpsample", "pia", "auc"), ["no point 'cpsample' here; it has cpsample alpha="]),
    "attack": (("baseline", "xyz", "auc"), ["no attack 'xyz'", "known: loss, nearest_copy, pia, quality"]),
    "metric": (("baseline", "pia", "acu"), ["no metric 'acu' of pia", "did you mean 'auc'?"]),
    "access": (("baseline", "pia", "auc", "denoiser"), ["no access 'denoiser'", "known: DENOISER, WEIGHTS"]),
    "seed": (("baseline", "pia", "auc", None, 7), ["no seed 7", "known: 0"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_unknown_name_is_one_line_that_says_what_there_is(results, case):
    arguments, words = WRONG[case]
    with pytest.raises(lb.UsageError) as caught:
        results.metric(*arguments)
    assert "\n" not in str(caught.value) and str(results.path) in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_an_attack_that_was_not_run_says_why(finished, tmp_path):
    shutil.copytree(finished.out, tmp_path / "run")
    path = tmp_path / "run" / "records" / "baseline__loss__DENOISER__seed0.json"
    told = json.loads(path.read_text()) | {"metrics": [], "info": {"skipped": "no equation"}, "flags": []}
    del told["checksum"]
    path.write_text(json.dumps(told))
    with pytest.raises(lb.UsageError, match="loss was not run at baseline: no equation"):
        lb.load(tmp_path / "run").metric("baseline", "loss", "auc")


def test_a_folder_without_a_run_is_one_line(tmp_path):
    with pytest.raises(lb.UsageError, match=r"not the folder of a run \(it has no plan\.json\)$"):
        lb.load(tmp_path)


def test_results_are_read_from_text_paths_and_say_where_they_are(finished, results):
    again = lb.load(str(finished.out))
    assert again.path == results.path == finished.out
    assert repr(again) == f"Results({str(finished.out)!r})"
    pd.testing.assert_frame_equal(again.table(), results.table())


def test_verdicts_are_those_of_the_report(results, finished):
    from leakbench.reports.site.report import render

    report = render(RunFolder(finished.out))
    found = results.verdicts()
    assert set(found["point"]) <= set(results.table()["point"]) and {"DENOISER", "WEIGHTS"} <= set(found["access"])
    for row in found.itertuples():
        (line,) = [one for one in report.splitlines() if one.startswith("  - ") and row.verdict in one][:1]
        assert row.access in line and f"by {row.attack}:" in line


def test_a_notebook_shows_the_short_table_and_why_it_is_void(results, finished, monkeypatch):
    page = results._repr_html_()
    short = shorten_tradeoff(RunFolder(finished.out))
    assert re.findall("<t[hd]>(.*?)</t[hd]>", page) == [escape(x) for row in (short.titles, *short.cells) for x in row]
    assert results.table()._repr_html_().startswith(page.partition("<p>")[0])
    assert "Void" not in page
    monkeypatch.setattr(lb.Results, "void", ("<b>loss</b> on untrained",))
    assert page.count("<table") == 1 and "<strong>Void:</strong> &lt;b&gt;loss" in results._repr_html_()


def test_a_difference_is_to_results_or_to_a_folder(results, finished, tmp_path):
    pd.testing.assert_frame_equal(results.diff(finished.out).table(), results.diff(results).table())
    with pytest.raises(lb.UsageError, match="nothing"):
        results.diff(tmp_path / "nothing")

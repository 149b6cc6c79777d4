"""The table of metrics: patterns, titles, ranges, and one row for every metric that the harness names."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from math import inf
from pathlib import Path

import pytest

from leakbench.results.metric_specs import METRICS, MetricSpec, find_metric, other_features, row_number
from leakbench.results.run_folder import RunFolder

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "docs" / "results"


@pytest.mark.parametrize(
    "name, title, bounds, better",
    [
        ("auc", "AUC of members against nonmembers", (0, 1), "closest to 0.5"),
        ("tpr@fpr=0.001", "TPR at 0.1 % FPR", (0, 1), "lower"),
        ("oriented_tpr@fpr=0.1", "TPR at 10 % FPR, sign from calibration", (0, 1), "lower"),
        ("frechet_heldout", "Frechet distance to held-out images", (0, inf), "lower"),
        ("frechet_heldout@features=dinov2", "Frechet distance to held-out images (dinov2)", (0, inf), "lower"),
        ("frechet", "Frechet distance to training images", (0, inf), ""),  # replayed images would be the best
        ("frechet@features=dinov2", "Frechet distance to training images (dinov2)", (0, inf), ""),
        ("kid", "KID to held-out images", (-inf, inf), "lower"),
        ("copy_rate_excess", "copies beyond the null", (-1, 1), "lower"),
        ("unique_copies@samples=125", "training images copied by 125 samples", (0, inf), "lower"),
        ("recall", "recall: real images that samples cover", (0, 1), "higher"),
        ("psnr_vs_retained_auc", "AUC by psnr against retained images", (0, 1), "closest to 0.5"),
        ("relearn_steps", "steps until it is back by relearn", (0, inf), "higher"),
        ("epsilon_lower_gaussian", "lower bound of epsilon, heuristic: gaussian", (0, inf), "lower"),
    ],
)
def test_a_metric_is_found_with_its_title_range_and_direction(name, title, bounds, better):
    found = find_metric(name)
    assert (found.name, found.title, found.bounds, found.better) == (name, title, bounds, better)


def test_a_metric_without_a_row_is_known_by_its_name_alone():
    assert find_metric("niceness") == MetricSpec("niceness", "niceness")
    assert find_metric("niceness").bounds == (-inf, inf)


def test_every_metric_of_the_committed_results_has_a_row_and_lies_in_its_range():
    values = {}
    for plan in RESULTS.glob("*/plan.json"):
        for record in RunFolder(plan.parent).records:
            for metric in record.metrics:
                values.setdefault(metric.name, []).extend(
                    x for x in (metric.value, metric.ci_low, metric.ci_high) if x is not None
                )
    assert len(values) > 30
    for name, found in values.items():
        spec = find_metric(name)
        assert spec.title != name and all(spec.low <= x <= spec.high for x in found), name


def test_no_row_is_hidden_by_one_before_it():
    """A row whose own name another row answers first could never be reached."""
    for row in METRICS:
        name = row.name
        for part, value in {"rate": "0.1", "size": "5"}.items():
            name = name.replace(f"{{{part}}}", value)
        name = name.replace("{", "").replace("}", "")
        assert find_metric(name).title.replace("0.1", "{rate}").startswith(row.title.partition("{")[0]), row.name
        first = next(one for one in METRICS if one.pattern.fullmatch(name))
        assert first is row, (row.name, first.name)


def test_features_beside_the_suites_own_are_read_off_the_name():
    assert (other_features("kid@features=sscd"), other_features("kid")) == ("sscd", "")
    assert row_number("kid@features=sscd") == row_number("kid") < row_number("auc") < row_number("niceness")


def test_rows_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        METRICS[0].title = "other"


def test_every_metric_is_explained():
    page = (ROOT / "docs" / "statistics.md").read_text()
    names = [row.name for row in METRICS if "{" not in row.name]
    assert {"auc", "forget_probability", "attribute_balance", "network_evaluations"} <= set(names)
    assert [name for name in names if f"`{name}`" not in page] == []


def test_every_metric_that_the_harness_names_has_a_row():
    source = "".join(file.read_text() for file in sorted((ROOT / "leakbench" / "metrics").rglob("*.py")))
    named = set(re.findall(r'(?:\bmetric|_share)\(\s*"(\w+)"|Metric\(name="(\w+)"', source))
    names = {(first or second).removeprefix("oriented_") for first, second in named}
    names -= {"steps"}  # is renamed when it is put into a record
    assert len(names) > 20
    assert names - {row.name for row in METRICS} == set()

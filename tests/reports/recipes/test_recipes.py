"""Recipes set a paper's numbers beside a run's, from records alone, and say which suite makes those records."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tomllib
from pathlib import Path

import pytest

import leakbench as package
from leakbench.reports.recipes import cpsample, dpdm, erasediff
from leakbench.reports.recipes import registry as registered
from leakbench.reports.recipes.registry import RECIPES, collect_recipe, find_recipe, format_recipe, write_recipe
from leakbench.results.run_folder import RunFolder
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError

RESULTS = Path(__file__).parents[3] / "docs" / "results"  # committed records
MADE = {"cpsample": "cpsample_paper", "switching": "medical", "dpdm": "medical"}


def rows(name, path=None):
    table = collect_recipe(RunFolder(path or RESULTS / MADE[name]), name)
    return {row.words[0]: row for row in table.rows}


def published(suite):
    """The papers' numbers of a built-in suite."""
    return tomllib.loads(registry.suite_path(suite).read_text())["published"]


def test_papers_numbers_are_those_of_the_suites():
    """What a suite and a recipe both say of a paper is one number."""
    said = {(r["paper"], r["defense"], r.get("metric")): r["value"] for one in RECIPES for r in published(one.suite)}
    paper = "CPSample (ICLR 2025)", "copy_rate_published"
    assert said[paper[0], "baseline", paper[1]] == cpsample.TABLE["CIFAR-10"][1]
    assert said[paper[0], "cpsample-small-alpha", paper[1]] == cpsample.TABLE["CIFAR-10"][2]
    table = "EraseDiff (CVPR 2025), its table"
    for defense, name in {"baseline": "unscrubbed", "salun": "SalUn", "erasediff-rl": "EraseDiff-rl"}.items():
        found = said[table, defense, "frechet_retained"], said[table, defense, "forget_probability"]
        assert found == erasediff.TABLE[name]
    (fids,) = {row["value"] for row in published("dpdm") if row.get("metric") == "frechet"}
    assert fids == "{:g} at epsilon 0.2, {:g} at 1, {:g} at 10".format(*dpdm.CURVES["Fashion-MNIST"].values())


@pytest.mark.parametrize("name", MADE)
def test_our_numbers_are_those_of_the_records(name):
    metric = {"cpsample": "copy_rate_published", "switching": "attribute_auc", "dpdm": "frechet"}[name]
    records = {r.point: r for r in RunFolder(RESULTS / MADE[name]).records if r.metric(metric)}
    ours = {point: row for point, row in rows(name).items() if point in records}
    assert ours
    for point, row in ours.items():
        assert row.cells[metric].found.mean == records[point].metric(metric).value


def test_the_page_says_where_the_committed_run_has_nothing_to_take_away():
    """Both numbers that a reader of the recipe must know stand beside it, as the recipe prints them."""
    page, found = " ".join((RESULTS.parent / "papers.md").read_text().split()), rows("cpsample")
    calibrated = found["baseline"].cells["copy_rate_excess"].found
    assert calibrated.low < 0 < calibrated.high
    assert f"no copying at all in the baseline's calibrated column ({in_percent(calibrated)})" in page
    below, base = (found[name].cells["copy_rate_published"].found for name in ("cpsample-small-alpha", "baseline"))
    assert below.high < base.low
    assert f"lies below the baseline ({in_percent(below)} against {100 * base.mean:.1f} %)" in page


def in_percent(found):
    return f"{100 * found.mean:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def test_a_row_that_means_nothing_says_so():
    assert rows("cpsample")["cpsample-small-alpha"].flags == ()
    assert rows("cpsample")["the paper"].cells["paper_without"].found.mean > 0
    run = RunFolder(RESULTS / "cpsample_paper")
    base = {(r.attack, r.access): r.arrays for r in run.records if r.point == "baseline"}
    vars(run)["records"] = [  # as a gate that never opens leaves them: the baseline's answers and samples
        r.model_copy(update={"arrays": base.get((r.attack, r.access), r.arrays)})
        if r.point == "cpsample-small-alpha"
        else r
        for r in run.records
    ]
    found = {row.words[0]: row for row in collect_recipe(run, "cpsample").rows}
    assert found["cpsample-small-alpha"].flags == ("inert",)


def test_erasediffs_variants_go_by_their_target(tell_run, tmp_path):
    def point(name, method, role="defense", **params):
        quality = {"forget_probability": (0.1, 0.05, 0.2), "frechet_retained": 2.0}
        return {"point": name, "defense": name, "role": role, "chain": ["baseline", method], "params": params} | {
            "quality": quality
        }

    points = [point("baseline", "baseline", "baseline"), point("a", "erasediff"), point("other", "retrain")]
    points.append(point("b", "erasediff", target="other_label"))
    run = tell_run(tmp_path, points)
    found = {row.words[0]: row.words[1] for row in collect_recipe(run, "erasediff").rows}
    assert found == {"baseline": "unscrubbed", "a": "EraseDiff-noise", "other": "-", "b": "EraseDiff-rl"}
    lines = format_recipe(run, "erasediff", 100)
    assert [line.split()[:4] for line in lines if line.startswith("b ")] == [["b", "EraseDiff-rl", "8.66", "24"]]
    assert max(map(len, lines)) <= 100


def test_a_run_without_the_system_is_told_which_suite_makes_it(run):
    for name in ("erasediff", "switching", "dpdm"):
        with pytest.raises(UsageError, match=rf"no records for .*leakbench run {find_recipe(name).suite}"):
            collect_recipe(run, name)
    with pytest.raises(UsageError, match="unknown recipe 'cpsampel'; did you mean 'cpsample'"):
        find_recipe("cpsampel")


def test_one_command_writes_the_table_and_the_figure(leakbench, tmp_path, monkeypatch):
    monkeypatch.setattr(registered, "WIDTHS", {"1col": 3.25})
    shutil.copytree(RESULTS / "medical", tmp_path / "run")
    done = leakbench("recipe", "dpdm", tmp_path / "run")
    table, _, written = done.out.rpartition("\n\n")
    assert done.code == 0 and "dpdm (.tex, .csv)" in " ".join(written.split())
    assert ["the", "paper", "Fashion-MNIST", "add-or-remove", "10.0", "18.60"] in [
        line.split() for line in table.splitlines()
    ]
    files = {path.name for path in (tmp_path / "run" / "recipes").iterdir()}
    assert files == {"dpdm.tex", "dpdm.csv", *(f"dpdm_1col.{ending}" for ending in ("pdf", "svg", "png"))}
    table = list(csv.DictReader(io.StringIO((tmp_path / "run" / "recipes" / "dpdm.csv").read_text())))
    spent = json.loads((RESULTS / "medical" / "records" / "dp_sgd__quality__SAMPLES__seed0.json").read_text())
    assert float(table[-1]["epsilon"]) == spent["guarantee"]["epsilon"]


def test_from_python_it_is_a_table():
    table = package.load(RESULTS / "medical").recipe("dpdm")
    assert list(table["paper_frechet"][:3]) == list(dpdm.CURVES["MNIST"].values())
    assert table["epsilon"].notna().sum() == 1 and {"frechet_low", "frechet_high"} <= set(table)


def test_without_arguments_it_lists_them(leakbench):
    assert "leakbench run erasediff_paper" in leakbench("recipe").out
    assert "give the folder of a run; `leakbench run dpdm` makes one" in leakbench("recipe", "dpdm").err


def test_a_figure_without_data_is_left_out(tell_run, tmp_path):
    quality = {"frechet_heldout": 2.0}
    points = [{"point": "dp", "defense": "dp", "role": "defense", "quality": quality, "guarantee": {"epsilon": 1.0}}]
    assert [path.name for path in write_recipe(tell_run(tmp_path, points), "dpdm")] == ["dpdm.tex", "dpdm.csv"]

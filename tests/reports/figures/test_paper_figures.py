"""Figures for papers: two widths, three formats, the numbers beside them, and the Pareto front."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from leakbench.reports.figures import gate, roc, similarity, tradeoff
from leakbench.reports.figures import registry as registered
from leakbench.reports.figures.canvas import COLUMN, PAGE, panels_across, styled
from leakbench.reports.figures.registry import CHARTS, write_paper_figures
from leakbench.reports.figures.styles import list_styles
from leakbench.reports.figures.values import write_values
from leakbench.reports.reading.shown import ShownRun
from leakbench.results.record import Metric
from leakbench.statistics import roc_band


def numbers(path):
    return list(csv.DictReader(io.StringIO(path.read_text())))


def placed(name, distance, auc, role="defense", **more):
    attacks = {"pia": {"auc": (auc, auc - 0.01, auc + 0.01), "calibration_auc": auc}}
    quality = {"frechet_heldout": (distance, distance - 0.1, distance + 0.1)}
    return {"point": name, "defense": name, "role": role, "attacks": attacks, "quality": quality, **more}


@pytest.fixture
def one_chart(monkeypatch):
    """The set is that of one quick figure."""
    chart = next(chart for chart in CHARTS if chart.name == "gate")
    monkeypatch.setattr(registered, "CHARTS", (chart,))
    return chart


def test_the_set_has_two_widths_three_formats_and_the_numbers(run, one_chart, monkeypatch):
    written = {path.name: path.read_bytes() for path in write_paper_figures(run)}
    endings = [f"{width}.{kind}" for width in ("1col", "2col") for kind in ("pdf", "svg", "png")]
    assert list(written) == [*(f"gate_{ending}" for ending in endings), "gate.csv"]
    monkeypatch.setattr(registered, "_PAPER", ("svg",))
    monkeypatch.setattr(registered, "WIDTHS", {"1col": COLUMN})
    again = {path.name: path.read_bytes() for path in write_paper_figures(run)}
    assert again == {name: written[name] for name in again}  # the same bytes each time
    for width, inches in (("1col", COLUMN), ("2col", PAGE)):
        pixels = int.from_bytes(written[f"gate_{width}.png"][16:20], "big")
        assert pixels == pytest.approx(300 * inches, abs=1)
    assert b"<dc:date>" not in written["gate_1col.svg"]
    first = numbers(run.path / "figures" / "gate.csv")[0]
    assert first["panel"] == "gate rate" and float(first["share"]) == pytest.approx(0.002)  # 2 alpha at t = 0


def test_numbers_of_a_part_leave_those_of_the_whole(run, one_chart, monkeypatch):
    """One point of four: its numbers have a file of their own, until the figures show the whole again."""
    monkeypatch.setattr(registered, "_PAPER", ("svg",))
    write_paper_figures(run)
    folder = run.path / "figures"
    whole = numbers(folder / "gate.csv")
    part = ShownRun(run, {"cpsample alpha=0.5"})
    assert [path.name for path in write_paper_figures(part)][-1] == "gate_part.csv"
    assert numbers(folder / "gate.csv") == whole and 0 < len(numbers(folder / "gate_part.csv")) < len(whole)
    write_paper_figures(run)
    assert not (folder / "gate_part.csv").exists()


def test_a_figure_that_can_no_longer_be_drawn_is_deleted(tell_run, tmp_path, one_chart):
    (tmp_path / "figures").mkdir()
    for name in ("gate_1col.svg", "gate.csv", "gate_of_mine.pdf"):
        (tmp_path / "figures" / name).write_text("")
    run = tell_run(tmp_path, [placed("baseline", 1.0, 0.9)])
    assert write_paper_figures(ShownRun(run, None, {"pia"})) == []
    assert len(list((tmp_path / "figures").iterdir())) == 3  # a part of a run is no reason to
    assert write_paper_figures(run) == []
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["gate_of_mine.pdf"]


@pytest.mark.parametrize("module", [tradeoff, roc, similarity, gate])
def test_one_column_holds_it_without_overlap(run, module):
    with styled():
        drawn = module.plot(module.collect_data(run), COLUMN)
        drawn.draw_without_rendering()
        boxes = [ax.get_tightbbox() for ax in drawn.axes if ax.axison] + [drawn.legends[0].get_window_extent()]
    assert all(not a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(drawn.bbox.x0 <= b.x0 and b.x1 <= drawn.bbox.x1 and b.y0 >= drawn.bbox.y0 for b in boxes)
    assert drawn.get_size_inches()[0] == COLUMN and drawn.get_size_inches()[1] < 9


def test_the_front_joins_what_nothing_betters_in_both(tell_run, tmp_path):
    """far-and-worse is bettered by good, below is 0.1 from 1/2; untrained ones, controls and
    ablations stay out."""
    points = [
        placed("baseline", 1.0, 0.9, role="baseline"),
        placed("good", 2.0, 0.7),
        placed("far-and-worse", 3.0, 0.75),
        placed("below", 4.0, 0.4),
        placed("half of good", 1.5, 0.6, role="ablation"),
        placed("as good as new", 30.0, 0.5),
        placed("untrained", 30.0, 0.5, role="control", chain=("untrained",)),
    ]
    run = tell_run(tmp_path, points)
    panel = tradeoff.collect_data(run).panels[0]
    assert panel.front == ("baseline", "good", "below")
    rows = {row["point"]: row for row in tradeoff.list_values(tradeoff.collect_data(run)) if row["panel"] == "DENOISER"}
    assert rows["good"]["pareto"] and not rows["untrained"]["pareto"] and rows["good"]["leakage_high"] == 0.71


def test_fewer_copies_than_chance_are_as_good_as_none_on_the_front(make_run, tmp_path):
    """reject_resample (4.2 away) betters cpsample alpha=0.5 (7.5) in both: -0.7 % is farther from 0, and no copy."""

    def change(record):
        value = {"reject_resample": -0.007, "cpsample alpha=0.5": 0.004}.get(record.point)
        if record.metric("copy_rate_excess") is None or value is None:
            return record
        kept = [one for one in record.metrics if one.name != "copy_rate_excess"]
        return record.model_copy(update={"metrics": [*kept, Metric(name="copy_rate_excess", value=value, n=600)]})

    asked = {"quality", "nearest_copy_pixels"}
    run = make_run(tmp_path, seeds=(0,), images=False, keep=lambda record: record.attack in asked, change=change)
    (panel,) = tradeoff.collect_data(run).panels
    assert panel.front[-1] == "reject_resample" and panel.leakage["reject_resample"] == 0
    assert {dot.name: dot.y.summary.mean for dot in panel.dots}["reject_resample"] == -0.007  # shown as it is


def test_a_void_track_has_no_front(tell_run, tmp_path):
    leaking = placed("untrained", 30.0, 0.9, role="control")
    run = tell_run(tmp_path, [placed("baseline", 1.0, 0.9, role="baseline"), placed("good", 2.0, 0.7), leaking])
    assert tradeoff.collect_data(run).panels[0].front == ()


def test_bands_are_those_of_the_scores(run):
    curve = roc.collect_data(run).levels["DENOISER"][0]
    record = next(r for r in run.records if (r.point, r.attack, r.seed) == (curve.point, "pia", curve.seed))
    arrays = run.arrays(record)
    band = roc_band(arrays["member_scores"], arrays["nonmember_scores"])
    assert np.array_equal(curve.band.low, band.low) and np.array_equal(curve.band.high, band.high)


def test_the_numbers_of_every_figure_are_written(run, tmp_path):
    for chart in CHARTS:
        if not chart.missing(run):
            rows = chart.list_values(chart.collect_data(run))
            assert len(numbers(write_values(tmp_path / f"{chart.name}.csv", rows))) == len(rows) > 0
    similar = numbers(tmp_path / "similarity.csv")
    shares = [float(row["share"]) for row in similar if (row["panel"], row["of"]) == ("pixels", "baseline")]
    assert sum(shares) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("count", "width", "rows", "across"), [(2, COLUMN, 1, 1), (2, COLUMN, 4, 2), (2, PAGE, 1, 2), (4, PAGE, 1, 3)]
)
def test_panels_stand_side_by_side_where_they_fit_or_are_many(count, width, rows, across):
    assert panels_across(count, width, 2.2, rows) == across


def test_lines_are_told_apart_in_grey(run, crowded, make_run, tmp_path):
    crowd = make_run(tmp_path, seeds=(), images=False, points=crowded)
    for one in (run, crowd):
        found = list_styles(one)
        defenses = {p.defense: found[p.name] for p in one.plan.points if p.role == "defense"}
        first = [look for look in defenses.values() if look.turn == 0]
        assert len({look.dash for look in first}) == len({look.marker for look in first}) == len(first)

"""Figures are drawn from the records alone, say what they show, and are left out where there is nothing to show."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from leakbench.reports.figures import gate, pairs, roc, similarity, tradeoff
from leakbench.reports.figures.canvas import MissingData, styled
from leakbench.reports.figures.registry import CHARTS, write_drawings
from leakbench.reports.figures.strip import strip
from leakbench.reports.figures.styles import list_styles
from leakbench.reports.reading.replication import name_transforms
from leakbench.reports.reading.strongest import representative_points
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder

NAMES = ["tradeoff", "roc", "similarity", "pairs", "gate"]  # what the made-up run has something for


def drawn(module, run):
    with styled():
        return module.plot(module.collect_data(run))


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.fixture(scope="module")
def few(tmp_path_factory, make_run):
    """One seed of three of the points: something of every figure that the whole run has."""
    kept = {"baseline", "cpsample alpha=0.5", "untrained"}
    return make_run(tmp_path_factory.mktemp("few"), seeds=(0,), keep=lambda record: record.point in kept)


@pytest.fixture(scope="module")
def written(few):
    return write_drawings(few)


def test_all_are_written_as_png(few, written):
    assert [path.relative_to(few.path).as_posix() for path in written] == [f"figures/{name}.png" for name in NAMES]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000 for path in written)


def test_same_bytes_from_the_same_records(few, written):
    first = {path: path.read_bytes() for path in written}
    assert {path: path.read_bytes() for path in write_drawings(few)} == first
    for path, data in first.items():
        assert b"CreationDate" not in data, path
        assert b"Matplotlib" not in data, path


def test_png_is_printable(written):
    width = int.from_bytes(written[0].read_bytes()[16:20], "big")
    assert width >= 200 * 7  # both columns at 200 dots an inch


def test_tradeoff(run):
    figure = drawn(tradeoff, run)
    assert [ax.get_title() for ax in figure.axes] == ["DENOISER", "WEIGHTS", "SAMPLES (pixels)", "SAMPLES (classifier)"]
    assert {ax.get_xlabel() for ax in figure.axes} == {"FD-classifier to held-out data"}
    labels = [ax.get_ylabel() for ax in figure.axes]
    assert labels == ["AUC of the strongest attack"] * 2 + ["copies beyond null (%)"] * 2
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    names = [p.point for p in run.plan.points]
    assert legend_of(figure) == [*names, "Pareto front, of the means", "nothing leaks", "floor (real vs real)"]


def test_tradeoff_does_not_clip_or_overlap(run):
    """Every marker lies inside its axes, and no panel reaches into another or into the legend."""
    figure = drawn(tradeoff, run)
    figure.draw_without_rendering()
    boxes = [ax.get_tightbbox() for ax in figure.axes] + [figure.legends[0].get_window_extent()]
    assert all(not a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(figure.bbox.x0 <= b.x0 and b.x1 <= figure.bbox.x1 and b.y0 >= figure.bbox.y0 for b in boxes)
    for ax in figure.axes:
        low, high = ax.get_xlim()
        for line in (line for line in ax.get_lines() if line.get_label() != "nothing leaks"):  # that one spans all
            x = np.asarray(line.get_xdata(), dtype=float)
            assert ((x >= low) & (x <= high)).all()


def test_tradeoff_means_and_seeds(run):
    data = tradeoff.collect_data(run)
    dots = {dot.name: dot for dot in data.panels[0].dots}
    assert len(dots) == len(run.plan.points)
    found = [r.metric("frechet_heldout").value for r in run.records if r.point == "baseline" and r.attack == "quality"]
    assert dots["baseline"].x.summary.mean == pytest.approx(np.mean(found))
    assert sorted(dots["baseline"].y.by_seed) == [0, 1]
    assert data.floor == pytest.approx(3.1)


def test_tradeoff_says_where_points_coincide(run):
    assert [panel.coincide for panel in tradeoff.collect_data(run).panels] == [False, True, False, False]


def test_far_controls_stand_in_a_strip():
    axis = strip([3.0, 8.0], [160.0, 4.0])
    assert axis.far == (160.0,) and not axis.log
    assert axis.high < axis.place(160.0) < axis.high * 1.2
    assert axis.place(4.0) == 4.0
    assert strip([1.0, 100.0], []).log


def test_no_bar_runs_through_the_words_beside_far_controls():
    ax = Figure(figsize=(2.3, 2.0), layout="constrained").subplots()
    axis = strip([3.0, 8.0], [160.0])
    ax.errorbar([3.0, axis.place(160.0)], [0.5, 0.5], yerr=0.4)
    axis.apply(ax)
    ax.figure.canvas.draw()
    assert ax.texts[0].get_window_extent().y0 > ax.transData.transform((0.0, 0.9))[1]


def test_roc(run):
    figure = drawn(roc, run)
    assert [ax.get_title() for ax in figure.axes] == ["DENOISER", "WEIGHTS"]
    for ax in figure.axes:
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("false-positive rate", "true-positive rate")
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        assert ax.get_xlim() == (1 / 250, 1) and ax.get_ylim() == (1 / 250, 1)
        assert len(ax.get_lines()) == 2 * 4 + 1  # two seeds of four points, and chance
        assert {line.get_drawstyle() for line in ax.get_lines()[:-1]} == {"steps-post"}
    assert legend_of(figure) == ["baseline", "cpsample alpha=0.5", "reject_resample", "untrained", "chance"]


def test_similarity(run):
    figure = drawn(similarity, run)
    assert [ax.get_title() for ax in figure.axes] == ["pixels", "classifier"]
    assert {ax.get_xlabel() for ax in figure.axes} == {"similarity to the nearest training image"}
    thresholds = {r.info["threshold"] for r in run.records if r.attack == "nearest_copy_pixels"}
    lines = {line.get_xdata()[0] for line in figure.axes[0].get_lines()}
    assert lines == thresholds
    assert "untrained" not in legend_of(figure)


def test_pairs(run):
    blocks = pairs.collect_data(run)
    assert [block.title.split(" (")[0] for block in blocks] == ["baseline", "cpsample alpha=0.5", "reject_resample"]
    assert all((np.diff(block.similarity) <= 0).all() for block in blocks)
    assert blocks[0].samples.shape == (10, 8, 8, 3)
    figure = drawn(pairs, run)
    assert len(figure.axes[0].images) == 20
    assert {image.get_interpolation() for image in figure.axes[0].images} == {"nearest"}
    printed = [text.get_text() for text in figure.axes[0].texts]
    assert printed == [f"{s:.3f}".replace("-", "\N{MINUS SIGN}") for s in blocks[0].similarity]


def test_pairs_name_the_transform_between_them():
    record = Record.model_construct(info={"transforms": ["mirror", "shift", "scale", "light"]})
    told = name_transforms(record, np.array([0, 1, 10]))
    assert told == ["as is", "mirror", "shift, light"]
    grey = np.zeros((3, 4, 6, 3), dtype=np.uint8)
    blocks = [pairs.Block("x", grey, grey, np.array([0.9, 0.8, 0.7]), told)]
    with styled():
        figure = pairs.plot(blocks)
    assert [text.get_text() for text in figure.axes[0].texts][1:] == ["0.800\nmirror", "0.700\nshift\nlight"]
    assert pairs.list_values(blocks)[2]["transform"] == "shift, light"


def test_pairs_in_colour_stay_in_colour():
    colour = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)
    block = pairs.Block("x", colour, colour, np.array([0.9, 0.8, 0.7]))
    with styled():
        figure = pairs.plot([block])
    assert (np.asarray(figure.axes[0].images[0].get_array()) == colour[0]).all()


def test_gate(run):
    figure = drawn(gate, run)
    assert [ax.get_ylabel() for ax in figure.axes] == ["gate rate", "classifier, share of images"]
    assert len(figure.axes[0].get_lines()) == 4  # points
    assert len(figure.axes[1].get_lines()) == 3  # one classifier serves the sweep
    names = [p.point for p in run.plan.points if p.defense == "cpsample"]
    groups = ["right on members", "right on held-out", "sure on held-out"]
    assert legend_of(figure) == [*names, "one classifier for all", *groups]


def test_gates_that_open_alike_are_named_so(tmp_path, make_run):
    folder = make_run(tmp_path, seeds=(0,))
    for path in folder.path.glob("records/cpsample*__quality__*.json"):
        record = json.loads(path.read_text())
        del record["checksum"]
        record["info"]["defense"]["gate_rate_by_t"] = {"0": 1.0, "500": 1.0}
        path.write_text(json.dumps(record))
    figure = drawn(gate, RunFolder(folder.path))
    (line,) = figure.axes[0].get_lines()
    names = [p.point for p in folder.plan.points if p.defense == "cpsample"]
    assert line.get_label() == f"{names[0]} (+ {len(names) - 1} alike)"


def test_looks_are_told_apart(run):
    found = list_styles(run)
    assert len({(look.colour, look.marker) for look in found.values()}) == len(found)
    assert [p.name for p in representative_points(run)] == [
        "baseline",
        "cpsample alpha=0.5",
        "reject_resample",
        "untrained",
    ]


@pytest.mark.parametrize(
    ("module", "gone", "reason"),
    [
        (tradeoff, {"quality"}, "frechet_heldout"),
        (roc, {"membership"}, "raw scores"),
        (similarity, {"replication"}, "raw similarities"),
        (pairs, {"replication"}, "--no-images"),
        (gate, {"quality"}, "gate"),
    ],
)
def test_missing_data_are_said(tmp_path, make_run, module, gone, reason):
    run = make_run(tmp_path, seeds=(0,), keep=lambda r: r.point == "baseline" and r.family not in gone)
    with pytest.raises(MissingData, match=reason):
        module.collect_data(run)


def test_what_cannot_be_drawn_is_left_out_and_old_ones_go(tmp_path, make_run):
    keep = {"nearest_copy_pixels"}
    run = make_run(tmp_path, seeds=(0,), images=False, keep=lambda r: r.attack in keep and r.point == "baseline")
    stale = tmp_path / "figures" / "pairs.png"
    stale.parent.mkdir()
    stale.write_bytes(b"of an earlier run")
    assert [path.name for path in write_drawings(run)] == ["similarity.png"]
    assert not stale.exists()
    assert [chart.name for chart in CHARTS if not chart.missing(run)] == ["similarity"]
    assert [chart.name for chart in CHARTS if chart.name in NAMES] == NAMES


def test_an_interval_beside_its_value_and_none_at_all(tmp_path, make_run):
    """A bootstrap's interval may lie beside its value, and some metrics have none: the figure shows what there is."""

    def change(record):
        odd = {"frechet_heldout": {"ci_low": 99.0, "ci_high": 100.0}, "auc": {"ci_low": None, "ci_high": None}}
        metrics = [m.model_copy(update=odd.get(m.name, {})) for m in record.metrics]
        return record.model_copy(update={"metrics": metrics})

    kept = {"quality", "membership"}
    run = make_run(tmp_path, seeds=(0,), keep=lambda r: r.family in kept and r.point == "baseline", change=change)
    assert [ax.get_title() for ax in drawn(tradeoff, run).axes] == ["DENOISER", "WEIGHTS"]


def test_gathering_needs_no_matplotlib():
    code = "import sys, leakbench.reports.figures.registry, leakbench.reports.site.report\n"
    code += "sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

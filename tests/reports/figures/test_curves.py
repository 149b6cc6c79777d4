"""The figures of privacy, forgetting, fairness and tau: what they draw, and that nothing lies on anything else."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from leakbench.reports.figures import fairness, forgetting, privacy, tau
from leakbench.reports.figures.canvas import COLUMN, MissingData, styled
from leakbench.reports.figures.registry import CHARTS

AUC = {"loss": {"auc": (0.6, 0.5, 0.7), "calibration_auc": 0.6, "oriented_auc": (0.6, 0.5, 0.7)}}
TAUS = list(range(0, 1000, 10))


def around(value, half):
    return (value, max(0.0, value - half), value + half)


def point(name, role="defense", **quality):
    defense = name.split()[0]
    chain = ["baseline"] if role == "baseline" else ["baseline", defense]
    return {"point": name, "defense": defense, "role": role, "chain": chain, "quality": quality, "attacks": AUC}


def told(name, probability, distance, role="defense"):
    found = {"forget_probability": around(probability, 0.03), "forget_probability_real": (0.92, 0.9, 0.94)}
    return point(name, role, frechet_retained=around(distance, 0.3), **found)


FORGETTING = [
    told("baseline", 0.9, 4.0, "baseline"),
    told("retrain", 0.02, 4.1),
    *(told(f"erasediff steps={n}", p, d) for n, p, d in ((30, 0.5, 4.2), (100, 0.1, 4.9), (300, 0.03, 6.0))),
    told("untrained", 0.1, 160.0, "control"),
]
SWITCHED = [(0, 0.97, 4.0), (100, 0.8, 4.1), (150, 0.52, 4.5), (600, 0.05, 5.5)]
FAIRNESS = [
    point("baseline", "baseline", attribute_auc=(0.97, 0.95, 0.99), frechet_heldout=(4.0, 3.6, 4.4)),
    *(
        point(f"sweep tau={t}", attribute_auc=around(a, 0.03), frechet_heldout=around(d, 0.4))
        | {"facts": {"tau": t, "tau_curve": {"tau": TAUS, "criterion": [abs(x - 160) / 100 + 0.5 for x in TAUS]}}}
        for t, a, d in SWITCHED
    ),
]
FAIRNESS = [p | {"quality": p["quality"] | {"attribute_auc_trained": 0.9, "frechet_floor": 2.0}} for p in FAIRNESS]
PRIVACY = [
    point("baseline", "baseline", frechet_heldout=(3.0, 2.7, 3.3), frechet_floor=2.0),
    *(
        point(f"dp_sgd epsilon={e}", frechet_heldout=around(30.0 / e**0.5, 1.0)) | {"guarantee": {"epsilon": float(e)}}
        for e in (1, 3, 10, 30)
    ),
    point("dp_sgd epsilon=inf", frechet_heldout=(4.5, 4.0, 5.0)),
]
STORIES = {"privacy": (privacy, PRIVACY), "forgetting": (forgetting, FORGETTING), "fairness": (fairness, FAIRNESS)}
STORIES |= {"tau": (tau, FAIRNESS)}


@pytest.fixture(scope="module")
def figures(tmp_path_factory, tell_run):
    """Each figure, laid out."""
    found = {}
    for name, (module, points) in STORIES.items():
        run = tell_run(tmp_path_factory.mktemp(name), points)
        with styled():
            found[name] = module.plot(module.collect_data(run))
            found[name].draw_without_rendering()
    return found


@pytest.fixture(autouse=True)
def style():
    """Sizes and ticks are the style's when they are asked for, too."""
    with styled():
        yield


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("name", STORIES)
def test_nothing_overlaps_or_leaves_the_column(figures, name):
    figure = figures[name]
    assert figure.get_size_inches()[0] == pytest.approx(COLUMN)
    boxes = [ax.get_tightbbox() for ax in figure.axes] + [figure.legends[0].get_window_extent()]
    assert all(not a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(figure.bbox.x0 <= b.x0 and b.x1 <= figure.bbox.x1 and b.y0 >= figure.bbox.y0 for b in boxes)
    for ax in figure.axes:
        ticks = [label for label in ax.get_xticklabels() if label.get_text() and label.get_visible()]
        places = [label.get_window_extent() for label in ticks]
        assert all(not a.overlaps(b) for a, b in pairwise(places))


@pytest.mark.parametrize("name", STORIES)
def test_every_marker_is_in_its_panel(figures, name):
    for ax in figures[name].axes:
        box = ax.get_window_extent()
        for line in (line for line in ax.get_lines() if line.get_marker() not in ("None", "_", "|", "")):
            places = ax.transData.transform(np.column_stack(line.get_data()).astype(float))
            assert (places[:, 0] >= box.x0).all() and (places[:, 0] <= box.x1).all()
            assert (places[:, 1] >= box.y0).all() and (places[:, 1] <= box.y1).all()


def test_forgetting(figures):
    (ax,) = figures["forgetting"].axes
    assert ax.get_xlabel() == "FD-classifier on the retained labels" and ax.get_yscale() == "log"
    assert legend_of(figures["forgetting"]) == [
        *("baseline", "retrain", "erasediff", "untrained", "real images", "forgotten: 0.2")
    ]
    curves = [line.get_data() for line in ax.get_lines() if len(line.get_xdata()) == 3]
    assert [list(x) for x, _ in curves] == [[4.2, 4.9, 6.0]] and list(curves[0][1]) == [0.5, 0.1, 0.03]
    stars = [line.get_data() for line in ax.get_lines() if line.get_marker() == "*"]
    assert [(x[0], y[0]) for x, y in stars] == [(4.1, 0.02)]
    assert {line.get_ydata()[0] for line in ax.get_lines() if line.get_label() == "real images"} == {0.92}
    assert "off axis" in ax.texts[0].get_text()  # the untrained network's 160


def test_fairness(figures):
    assert [ax.get_title() for ax in figures["fairness"].axes] == ["classifier of real images", "classifier of samples"]
    for ax in figures["fairness"].axes:
        assert [line.get_ydata()[0] for line in ax.get_lines() if line.get_label() == "cannot be read"] == [0.5]
    curve = next(line for line in figures["fairness"].axes[0].get_lines() if len(line.get_xdata()) == len(SWITCHED))
    assert list(curve.get_xdata()) == [d for _, _, d in SWITCHED]
    assert list(curve.get_ydata()) == [a for _, a, _ in SWITCHED]


def test_tau(figures):
    criterion, read = figures["tau"].axes
    lowest = next(line for line in criterion.get_lines() if line.get_label() == "minimum")
    assert (lowest.get_xdata()[0], lowest.get_ydata()[0]) == (160, 0.5)
    assert sum(len(line.get_xdata()) == len(TAUS) for line in criterion.get_lines()) == 1  # four points, one search
    lines = [line for line in read.get_lines() if list(line.get_xdata()) == [t for t, _, _ in SWITCHED]]
    assert list(lines[0].get_ydata()) == [a for _, a, _ in SWITCHED]
    assert {"classifier of real images", "classifier of samples", "sweep", "baseline"} <= set(legend_of(figures["tau"]))


def test_tau_without_readings_is_one_panel(tmp_path, tell_run):
    bare = [p | {"quality": {"frechet_heldout": 4.0}} for p in FAIRNESS]
    assert len(tau.plot(tau.collect_data(tell_run(tmp_path, bare))).axes) == 1


def test_a_control_among_the_others_has_its_whole_interval_on_the_axis(tmp_path, tell_run):
    points = [told("baseline", 0.9, 4.0, "baseline"), told("near", 0.1, 5.0, "control"), told("erasediff", 0.2, 6.0)]
    points += [told("untrained", 0.1, 90.0, "control")]
    points[1]["quality"]["frechet_retained"] = (5.0, 3.0, 9.0)
    (ax,) = forgetting.plot(forgetting.collect_data(tell_run(tmp_path, points))).axes
    (strip,) = ax.patches
    assert 9.0 < strip.get_x() < 20.0 and ax.texts[0].get_text().endswith("at 90")


def test_privacy(figures):
    leak, away = figures["privacy"].axes
    assert leak.get_xscale() == "log" and away.get_yscale() == "log"
    assert [label.get_text() for label in away.get_xticklabels()] == ["1", "3", "10", "30", "\N{INFINITY}"]
    end = away.get_xticks()[-1]
    curve = next(line for line in away.get_lines() if len(line.get_xdata()) == 5)
    assert list(curve.get_xdata()) == [1.0, 3.0, 10.0, 30.0, end] and curve.get_ydata()[-1] == 4.5
    assert legend_of(figures["privacy"]) == ["baseline", "dp_sgd", "nothing leaks", "floor (real vs real)"]


def test_an_epsilon_between_the_usual_ticks_is_named_on_the_axis(tmp_path, tell_run):
    points = [PRIVACY[0], PRIVACY[1] | {"guarantee": {"epsilon": 200.0}}]
    drawn = privacy.plot(privacy.collect_data(tell_run(tmp_path, points)))
    assert [label.get_text() for label in drawn.axes[1].get_xticklabels()] == ["200", "\N{INFINITY}"]


def test_intervals_near_nothing_do_not_stretch_a_logarithmic_axis(tmp_path, tell_run):
    """Distances of 1 to 25, of which the first may be anything from 0: the axis begins at half of it, and is log."""
    near = told("baseline", 0.9, 1.0, "baseline")
    near["quality"] = near["quality"] | {"frechet_retained": (1.0, 0.0, 2.0)}
    figure = forgetting.plot(forgetting.collect_data(tell_run(tmp_path, [near, told("erasediff", 0.3, 25.0)])))
    assert figure.axes[0].get_xscale() == "log"
    assert 0.3 < figure.axes[0].get_xlim()[0] < 0.5
    narrow = told("erasediff", 0.3, 5.0)
    figure = forgetting.plot(forgetting.collect_data(tell_run(tmp_path / "narrow", [near, narrow])))
    assert figure.axes[0].get_xscale() == "linear" and figure.axes[0].get_xlim()[0] < 0


def test_one_budget_alone_can_be_drawn(tmp_path, tell_run):
    privacy.plot(privacy.collect_data(tell_run(tmp_path, PRIVACY[:2]))).draw_without_rendering()


def test_a_probability_of_nothing_is_drawn_to_scale(tmp_path, tell_run):
    """A logarithmic axis would have no place for it."""
    run = tell_run(tmp_path, [FORGETTING[0], told("erasediff", 0.0, 4.2)])
    assert forgetting.plot(forgetting.collect_data(run)).axes[0].get_yscale() == "linear"


def test_each_says_why_it_is_missing(run):
    said = {chart.name: chart.missing(run) for chart in CHARTS}
    assert said["privacy"] == "no release states an epsilon"
    assert said["forgetting"] == "no record holds `forget_probability` and `frechet_retained`"
    assert said["fairness"] == "no record holds `attribute_auc` and `frechet_heldout`"
    assert said["tau"] == "no release has a `tau_curve`"
    with pytest.raises(MissingData):
        tau.collect_data(run)

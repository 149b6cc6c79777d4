"""A run of 30 points and 22 defenses: its figures stay readable, and tell all of them apart."""

from __future__ import annotations

import pytest

from leakbench.reports.figures import roc, similarity, tradeoff
from leakbench.reports.figures.canvas import styled
from leakbench.reports.figures.styles import list_styles, turns
from leakbench.reports.reading.strongest import representative_points


@pytest.fixture(scope="module")
def crowd(tmp_path_factory, make_run, crowded):
    """With what the figures read, and no more."""
    kept = {"quality", "loss", "nearest_copy_pixels"}
    path = tmp_path_factory.mktemp("crowd")
    return make_run(path, seeds=(0,), images=False, keep=lambda record: record.attack in kept, points=crowded)


@pytest.fixture(scope="module")
def figures(crowd):
    with styled():
        found = {module: module.plot(module.collect_data(crowd)) for module in (tradeoff, roc, similarity)}
        for figure in found.values():
            figure.draw_without_rendering()
    return found


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_crowd_is_one(crowd):
    assert len(crowd.plan.points) == 30
    assert len({point.defense for point in crowd.plan.points}) == 22


def test_looks_are_told_apart(crowd):
    found = list_styles(crowd)
    assert len({(look.colour, look.marker) for look in found.values()}) == len(found)
    by_defense = {point.defense: found[point.name] for point in crowd.plan.points}
    assert len({(look.curve, look.marker) for look in by_defense.values()}) == 22
    assert len({(look.curve, look.dash) for look in by_defense.values()}) == 22


def test_the_legend_names_each_defense_once(figures, crowd):
    names = [point.defense for point in crowd.plan.points]
    lines = ["Pareto front, of the means", "nothing leaks", "floor (real vs real)"]
    assert legend_of(figures[tradeoff]) == [*dict.fromkeys(names), *lines]


@pytest.mark.parametrize("module", [tradeoff, roc, similarity])
def test_nothing_overlaps(figures, module):
    figure = figures[module]
    boxes = [ax.get_tightbbox() for ax in figure.axes if ax.axison] + [figure.legends[0].get_window_extent()]
    assert all(not a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(figure.bbox.x0 <= b.x0 and b.x1 <= figure.bbox.x1 and b.y0 >= figure.bbox.y0 for b in boxes)
    assert figure.get_size_inches()[1] < 11  # a page


def test_many_curves_stand_in_rows_of_six_defenses(figures, crowd):
    shown = [point.name for point in representative_points(crowd)]
    rows = turns(shown, list_styles(crowd))
    assert all(row[0] == "baseline" and row[-1] == "untrained" and len(row) <= 8 for row in rows)
    assert sorted({name for row in rows for name in row}) == sorted(shown)
    assert sum(len(row) - 2 for row in rows) == 20
    for panels, names in zip(figures[roc].axes[::2], rows, strict=True):
        drawn = {line.get_label() for line in panels.get_lines()} - {"chance"}
        assert drawn == set(names)


def test_few_defenses_stay_in_one_row(run):
    assert turns([point.name for point in representative_points(run)], list_styles(run)) == [
        [point.name for point in representative_points(run)]
    ]

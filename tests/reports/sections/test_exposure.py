"""Leakage by class, and the most exposed members: of the strongest attack, by number and not by picture."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.reports.figures import classes
from leakbench.reports.figures.canvas import MissingData, styled
from leakbench.reports.reading.exposure import LEVEL, list_exposures
from leakbench.reports.reading.strongest import strongest
from leakbench.reports.sections.exposure import format_classes, summarise_classes, summarise_members
from leakbench.reports.site.report import render
from leakbench.results.record_files import save_record
from leakbench.statistics import auc, by_class


@pytest.fixture(scope="module")
def found(army):
    return list_exposures(army)


def sides(run, record):
    arrays, sign = run.arrays(record), record.info["orientation"]
    return arrays, sign * arrays["member_scores"], sign * arrays["nonmember_scores"]


def test_of_no_protection_and_of_defenses_that_change_something(found):
    assert [one.point.name for one in found] == ["baseline", "cpsample alpha=0.5"]


def test_each_class_against_its_own(army, found):
    records = strongest(army, army.plan.points[0], LEVEL)
    for one in found[0].classes:
        each, p = [], []
        for record in records.values():
            arrays, member, nonmember = sides(army, record)
            inside, outside = arrays["member_labels"] == one.label, arrays["nonmember_labels"] == one.label
            each.append(auc(member[inside], nonmember[outside]))
            whole = by_class(member, arrays["member_labels"], nonmember, arrays["nonmember_labels"])
            p.append(next(c.adjusted for c in whole.classes if c.label == one.label))
        assert list(one.auc.by_seed.values()) == each
        assert one.p == max(p)
    assert [one.label for one in found[0].classes if one.differs] == [3]
    assert "shown to differ from the others: 3 (0.99" in summarise_classes(found[0])


def test_the_most_exposed_members_by_brute_force(army, found):
    """The mean over the seeds of the share of nonmembers at or above the member."""
    rates, ranks = {}, {}
    for record in strongest(army, army.plan.points[0], LEVEL).values():
        arrays, member, nonmember = sides(army, record)
        order = np.argsort(-member, kind="stable")
        for place, row in enumerate(arrays["member_rows"]):
            rates.setdefault(int(row), []).append(np.mean(nonmember >= member[place]))
            ranks.setdefault(int(row), []).append(int(np.flatnonzero(order == place)[0]))
    expected = sorted(rates, key=lambda row: (np.sum(rates[row]), np.sum(ranks[row]), row))
    assert [row for row, _ in found[0].members] == expected[:5]
    assert found[0].unrivalled == sum(max(rate) == 0 for rate in rates.values())
    assert summarise_members(found[0]).startswith(f"{expected[0]} (0 %), ")


def test_the_section_shows_rows_and_no_pictures(army):
    text = render(army).split("## Leakage by class and image\n")[1].split("\n## ")[0]
    assert text.count("\n|---|") == 1 and "![" not in text
    assert "With 250 nonmembers, 0 % means less than about 1.2 %" in " ".join(text.split())


def relabelled(run, path, labels):
    """The baseline's strongest attack with other labels, or with none."""
    record = next(r for r in run.records if (r.point, r.attack, r.access) == ("baseline", "sima", LEVEL))
    arrays = {name: array for name, array in run.arrays(record).items() if not name.endswith("_labels")}
    if labels is not None:
        arrays |= {"member_labels": labels, "nonmember_labels": labels}
    (path / "records").mkdir(parents=True)
    (path / "plan.json").write_text((run.path / "plan.json").read_text())
    save_record(path, record, arrays)
    return type(run)(path)


def test_of_many_classes_those_that_differ_are_told(army, tmp_path):
    labels = np.arange(250) % 25
    run = relabelled(army, tmp_path, labels)
    (one,) = list_exposures(run)
    _, cells = format_classes(one)
    assert len(one.classes) == 25 and [row[0] for row in cells] == [str(c.label) for c in one.classes if c.differs]
    with pytest.raises(MissingData, match="25 classes"):
        classes.collect_data(run)


def test_small_classes_are_counted_and_left_out(army, tmp_path):
    labels = np.where(np.arange(250) < 4, 9, np.arange(250) % 3)
    run = relabelled(army, tmp_path, labels)
    (one,) = list_exposures(run)
    assert [c.label for c in one.classes] == [0, 1, 2] and one.left_out == 1
    assert "Left out: 1 class with fewer than five images on a side." in render(run)


def test_one_class_is_compared_with_no_other(army, tmp_path):
    """Nothing is said of differences: there is no other class to differ from."""
    labels = np.where(np.arange(250) < 27, np.arange(250) // 3 + 1, 0)
    run = relabelled(army, tmp_path, labels)
    (one,) = list_exposures(run)
    assert [c.label for c in one.classes] == [0] and one.left_out == 9
    assert summarise_classes(one) == f"AUC of the one class with enough images {one.classes[0].auc.summary.mean:.2f}"
    section = render(run).split("## Leakage by class and image\n")[1].split("\n## ")[0]
    assert "Left out: 9 classes with fewer than five images on a side." in section
    assert "differ" not in section and "as the others" not in section


def test_without_labels_members_are_still_told(army, tmp_path):
    run = relabelled(army, tmp_path, None)
    (one,) = list_exposures(run)
    assert not one.classes and one.members
    assert "no labels" in render(run)
    with pytest.raises(MissingData, match="labelled images"):
        classes.collect_data(run)


def rescored(run, path, members, nonmembers):
    """The baseline's strongest attack alone, with other scores."""
    record = next(r for r in run.records if (r.point, r.attack, r.access) == ("baseline", "sima", LEVEL))
    arrays = run.arrays(record) | {"member_scores": members, "nonmember_scores": nonmembers}
    (path / "records").mkdir(parents=True)
    (path / "plan.json").write_text((run.path / "plan.json").read_text())
    save_record(path, record, arrays)
    return type(run)(path)


def test_where_all_scores_tie_no_member_is_named(army, tmp_path):
    (one,) = list_exposures(rescored(army, tmp_path, np.ones(250), np.ones(250)))
    assert summarise_members(one) == "none more than another, as the attack gave all of them one score"


def test_a_share_of_all_nonmembers_is_no_power_of_ten(army, tmp_path):
    """All members lie below every nonmember."""
    members = np.full(250, -5.0)
    members[7] = -4.0
    (one,) = list_exposures(rescored(army, tmp_path, members, np.zeros(250)))
    assert summarise_members(one).startswith("7 (100 %), 0 (100 %), ")


def test_no_section_without_scores(tmp_path, tell_run):
    told = {"loss": {"auc": (0.6, 0.5, 0.7), "calibration_auc": 0.6}}
    run = tell_run(tmp_path, [{"point": "baseline", "defense": "baseline", "role": "baseline", "attacks": told}])
    assert "## Leakage by class" not in render(run)


def test_the_figure(army, found):
    with styled():
        figure = classes.plot(classes.collect_data(army))
        figure.draw_without_rendering()
    (ax,) = figure.axes
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2", "3", "4"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["nothing leaks", "baseline", "cpsample alpha=0.5"]
    drawn = [container for container in ax.containers if container.get_label() == "baseline"]
    heights = [float(container.lines[0].get_ydata()[0]) for container in drawn]
    assert heights == [one.auc.summary.mean for one in found[0].classes]

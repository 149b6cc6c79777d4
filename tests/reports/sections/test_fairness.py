"""Whether the attribute can be read: what the table says, against numbers worked out by hand."""

from __future__ import annotations

import pytest

from leakbench.reports.figures import tau
from leakbench.reports.reading.fairness import list_fairness
from leakbench.reports.sections.fairness import hidden
from leakbench.reports.site.report import render

TAUS = [0, 10, 20, 30]


def point(name, real, trained, distance, role="defense", **facts):
    """AUCs are a number a seed; `facts` are the release's."""
    told = {"point": name, "defense": name.split()[0], "role": role, "chain": ["baseline", name.split()[0]]}
    quality = {
        "attribute_auc": [(x, x - 0.02, x + 0.02) for x in real],
        "attribute_auc_trained": [(x, x - 0.02, x + 0.02) for x in trained],
        "attribute_balance": (0.4, 0.3, 0.5),
        "attribute_balance_real": (0.5, 0.45, 0.55),
        "attribute_reader_auc": (0.99, 0.98, 1.0),
        "frechet_heldout": [(d, d - 1, d + 1) for d in distance],
    }
    return told | {"quality": quality, "facts": facts}


def curve(*criterion):
    return {"tau": TAUS, "criterion": list(criterion)}


CURVES = [curve(3.0, 1.0, 1.0, 2.0), curve(3.0, 2.0, 0.5, 2.0)]  # least at 10 (the first of equals) and at 20
POINTS = [
    point("baseline", (0.96, 0.98), (0.97, 0.97), (4.0, 4.0), role="baseline"),
    point("attribute_switching", (0.46, 0.54), (0.7, 0.6), (4.4, 4.4), tau=[10, 20], tau_curve=CURVES),
    point("sweep tau=10", (0.4, 0.6), (0.5, 0.52), (5.0, 5.0), tau=10, tau_curve=CURVES),
    point("sweep tau=30", (0.1, 0.1), (0.9, 0.9), (6.0, 8.0), tau=30, tau_curve=CURVES),
]


def section(run):
    return render(run).split("## Fairness\n")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory, tell_run):
    return tell_run(tmp_path_factory.mktemp("fairness"), POINTS, seeds=(0, 1))


def test_the_table(run):
    lines = [line for line in section(run).splitlines() if line.startswith("|")]
    assert lines[0] == (
        "| point | tau | classifier of real images: AUC | classifier of real images: farthest from 0.5 | "
        "classifier of samples: AUC | classifier of samples: farthest from 0.5 | samples with the attribute | "
        "real images with it | "
        "FD-classifier, held-out | to that of its baseline |"
    )
    assert lines[3] == (
        "| attribute_switching | 10 / 20 | 0.50 [0.44, 0.56] | 0.040 | 0.65 [0.58, 0.72] | 0.200 | "
        "40.0 % [30.0, 50.0] | 50.0 % [45.0, 55.0] | 4.40 [3.40, 5.40] | 1.10x |"
    )
    assert [line.split(" | ")[-1] for line in lines[2:]] == ["1.00x |", "1.10x |", "1.25x |", "1.75x |"]
    assert "its AUC is 0.99 [0.98, 1.00]" in section(run)


def test_two_seeds_on_either_side_do_not_hide(run):
    """0.4 and 0.6 have the mean 0.5, and each is 0.1 away from it."""
    assert [row.apart("attribute_auc") for row in list_fairness(run)] == pytest.approx([0.48, 0.04, 0.1, 0.4])
    assert hidden(run, list_fairness(run)) == {
        "classifier of real images": "attribute_switching (1.10x)",
        "classifier of samples": "sweep tau=10 (1.25x)",
    }


def test_no_thanks_for_hiding_what_did_not_show(tmp_path, tell_run):
    """A model that ignores its condition, and a control, hide the attribute without a defense."""
    blind = point("baseline", (0.51, 0.51), (0.9, 0.9), (4.0, 4.0), role="baseline")
    noise = point("untrained", (0.5, 0.5), (0.5, 0.5), (99.0, 99.0), role="control")
    run = tell_run(tmp_path, [blind, *POINTS[1:2], noise], seeds=(0, 1))
    assert hidden(run, list_fairness(run)) == {
        "classifier of real images": "the baseline already, so that there was nothing to hide",
        "classifier of samples": "no point",
    }


def test_the_switch_is_compared_with_the_model_below_it(tmp_path, tell_run):
    """Where a suite has a baseline without an attribute as well, that one is nobody's to be compared with."""
    plain = {"point": "plain", "defense": "plain", "role": "baseline", "chain": ["baseline"]}
    plain |= {"quality": {"frechet_heldout": (2.0, 1.0, 3.0)}}
    switched = POINTS[1] | {"bases": ["baseline"]}
    run = tell_run(tmp_path, [plain, POINTS[0], switched], seeds=(0, 1))
    assert [(row.point.name, row.ratio) for row in list_fairness(run)] == [
        ("baseline", 1.0),
        ("attribute_switching", pytest.approx(1.1)),
    ]
    assert [one.tau for one in tau.collect_data(run).readings["attribute_auc"]] == [0.0, 15.0]


def test_a_reader_that_is_missing_leaves_no_column(tmp_path, tell_run):
    first = POINTS[0]["quality"]
    kept = {name: found for name, found in first.items() if name != "attribute_auc_trained"}
    text = section(tell_run(tmp_path, [POINTS[0] | {"quality": kept}], seeds=(0, 1)))
    assert "classifier of samples: AUC" not in text and "classifier of real images: AUC" in text


def test_no_section_without_an_attribute(tmp_path, tell_run):
    assert "## Fairness" not in render(tell_run(tmp_path, [POINTS[0] | {"quality": {"frechet_heldout": 4.0}}]))


def test_curves_are_one_a_search_and_end_in_their_minimum(run):
    data = tau.collect_data(run)
    assert [found.best for found in data.curves] == [(10, 1.0), (20, 0.5)]  # three points share each
    assert [(one.defense, one.tau) for one in data.readings["attribute_auc"]] == [
        *(("baseline", 0.0), ("attribute_switching", 15.0), ("sweep", 10.0), ("sweep", 30.0))
    ]
    assert [one.auc.summary.mean for one in data.readings["attribute_auc_trained"]] == pytest.approx(
        [0.97, 0.65, 0.51, 0.9]
    )

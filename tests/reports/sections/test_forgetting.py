"""Forgetting, its cost and the comparison of costs, against numbers worked out by hand."""

from __future__ import annotations

import pytest

from leakbench.reports.reading.costs import find_base, find_cost
from leakbench.reports.reading.forgetting import list_forgetting
from leakbench.reports.sections.forgetting import known, list_comparisons, verdicts
from leakbench.reports.site.report import render

BASE = 1000.0  # evaluations of the baseline


def point(name, probability, evaluations, seconds, distance=4.0, role="defense", **more):
    """A point whose step on the baseline took `evaluations`; its probability's interval is 0.05 to either side."""
    defense = name.split()[0]
    method = defense.split("-")[0]
    told = {"point": name, "defense": defense, "role": role, "chain": ["baseline", method]}
    told |= {"params": {"steps": len(name), "baseline.steps": 9}, "timings": {"train_last": seconds, "train": 99.0}}
    quality = {
        "forget_probability": (probability, probability - 0.05, probability + 0.05),
        "forget_probability_real": (0.9, 0.85, 0.95),
        "frechet_retained": (distance, distance - 1, distance + 1),
        "network_evaluations": BASE + evaluations,
    }
    return told | {"quality": quality} | more


BASELINE = point("baseline", 0.8, 0.0, 50.0, role="baseline") | {"chain": ["baseline"], "params": {"steps": 9}}
POINTS = [
    BASELINE,
    point("retrain", 0.05, 1000.0, 40.0),
    point("erasediff steps=3", 0.5, 30.0, 0.3),
    point("erasediff steps=30", 0.1, 100.0, 2.0, distance=5.0),
    point("erasediff steps=300", 0.05, 1000.0, 20.0, distance=9.0),
    point("salun steps=3", 0.1, 50.0, 4.0),
    point("salun steps=30", 0.18, 500.0, 9.0),  # its interval reaches 0.23
    point("untrained", 0.1, -1000.0, 0.0, role="control") | {"chain": ["untrained"], "params": {}},
]


def section(run):
    return render(run).split("## Forgetting\n")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory, tell_run):
    return tell_run(tmp_path_factory.mktemp("forgetting"), POINTS)


def test_the_table(run):
    lines = [line for line in section(run).splitlines() if line.startswith("|")]
    assert lines[0] == (
        "| point | forget probability | of real images | FD-classifier, retained | to that of its baseline | "
        "seconds, last step | network evaluations, last step |"
    )
    assert lines[2] == "| baseline | 0.80 [0.75, 0.85] | 0.90 [0.85, 0.95] | 4.00 [3.00, 5.00] | 1.00x | 50.0 | 1,000 |"
    assert lines[5] == (
        "| erasediff steps=30 | 0.10 [0.05, 0.15] | 0.90 [0.85, 0.95] | 5.00 [4.00, 6.00] | 1.25x | 2.00 | 100 |"
    )
    assert len(lines) == 2 + len(POINTS)


def test_each_point_is_compared_with_the_baseline_it_was_built_on(tmp_path, tell_run):
    """Of two baselines the second retains twice as badly; without `bases`, the first is everybody's."""
    other = point("other", 0.8, 0.0, 50.0, distance=8.0, role="baseline") | {"chain": ["baseline"]}
    built = point("erasediff", 0.1, 1.0, 1.0, distance=10.0) | {"bases": ["other"]}
    found = list_forgetting(tell_run(tmp_path, [BASELINE, other, built, point("salun", 0.1, 1.0, 1.0, distance=10.0)]))
    assert [row.ratio for row in found] == [1.0, 1.0, 1.25, 2.5]


def test_of_several_baselines_in_a_chain_the_uppermost_counts(tmp_path, tell_run):
    """A control at the bottom, a baseline that was trained further on it, and two defenses above."""
    other = point("other", 0.8, 0.0, 50.0, distance=8.0, role="control")
    copying = point("copying", 0.8, 0.0, 50.0, distance=5.0, role="baseline") | {"bases": ["other"]}
    edited = point("erasediff", 0.1, 1.0, 1.0, distance=10.0) | {"bases": ["other", "copying"]}
    above = point("salun", 0.1, 1.0, 1.0, distance=15.0) | {"bases": ["other", "copying", "erasediff"]}
    found = list_forgetting(tell_run(tmp_path, [BASELINE, other, copying, edited, above]))
    assert {row.point.name: row.ratio for row in found if row.point.name in ("erasediff", "salun")} == {
        "erasediff": 2.0,
        "salun": 3.0,
    }


def test_who_forgot(run):
    assert known(run, list_forgetting(run))
    forgotten, kept = verdicts(list_forgetting(run))
    assert forgotten == [
        "retrain (0.05 at 1.00x)",
        "erasediff steps=30 (0.10 at 1.25x)",
        "erasediff steps=300 (0.05 at 2.25x)",
        "salun steps=3 (0.10 at 1.00x)",
    ]
    assert kept == ["erasediff steps=3", "salun steps=30"]


def test_costs_are_compared_at_the_cheapest_point_that_forgot(run):
    """By hand: retrain 1000 / 100 evaluations and 40 / 2 seconds; salun 50 / 100 and 4 / 2."""
    (found,) = list_comparisons(list_forgetting(run))
    assert (found.point.name, found.spent) == ("erasediff steps=30", "100 network evaluations, 2.00 s")
    assert found.others == [
        "retrain: 10.0x its network evaluations (the other way round 0.10x) and 20.0x its seconds (the other way "
        "round 0.0500x); the rest at 1.00x",
        "salun steps=3: 0.50x its network evaluations (the other way round 2.00x) and 2.00x its seconds (the other "
        "way round 0.50x); the rest at 1.00x",
    ]
    assert "Costs at equal forgetting, beside **erasediff steps=30**" in section(run)


def test_who_wrecked_the_rest_is_no_cheap_forgetter(tmp_path, tell_run):
    """Ten evaluations that leave the other labels at twice the baseline's distance do not count as a cost."""
    wrecked, fair = (point(f"salun steps={n}", 0.1, n, 1.0, distance=d) for n, d in ((10.0, 8.0), (500.0, 6.0)))
    (found,) = list_comparisons(list_forgetting(tell_run(tmp_path, [BASELINE, POINTS[3], wrecked, fair])))
    assert [words.split(":")[0] for words in found.others] == ["salun steps=500.0"]


def test_each_variant_of_the_yardstick_is_compared(tmp_path, tell_run):
    other = point("erasediff-other-label steps=30", 0.1, 200.0, 1.0)
    found = list_comparisons(list_forgetting(tell_run(tmp_path, [*POINTS, other])))
    assert [one.point.name for one in found] == ["erasediff steps=30", "erasediff-other-label steps=30"]
    assert found[1].others[1].startswith("erasediff steps=30: 0.50x its network evaluations")


def test_no_cost_is_compared_where_the_yardstick_did_not_forget(tmp_path, tell_run):
    kept = [p for p in POINTS if p["point"] not in ("erasediff steps=30", "erasediff steps=300")]
    text = section(tell_run(tmp_path, kept))
    assert "No cost is compared: erasediff did not forget here" in text
    assert "Costs at equal forgetting" not in text and "Forgotten, that is" in text
    without = [p for p in POINTS if p["defense"] != "erasediff"]
    assert "No cost is compared" not in section(tell_run(tmp_path / "without", without))


def test_what_the_baseline_never_knew_nobody_forgot(tmp_path, tell_run):
    for probability in (0.05, 0.22):  # below 0.2, and not shown to lie above
        unknowing = point("baseline", probability, 0.0, 50.0, role="baseline") | {"chain": ["baseline"]}
        run = tell_run(tmp_path / str(probability), [unknowing, *POINTS[1:]])
        assert not known(run, list_forgetting(run))
        assert "it cannot be said\nwhich defense forgot it" in section(run)
        assert "Forgotten, that is" not in section(run) and "Costs at" not in section(run)


def test_two_seeds_are_their_mean_and_envelope(tmp_path, tell_run):
    quality = {"forget_probability": [(0.1, 0.05, 0.12), (0.14, 0.1, 0.19)], "frechet_retained": [4.0, 6.0]}
    quality |= {"network_evaluations": [1100.0, 1300.0]}
    seeded = point("erasediff steps=30", 0, 0, [1.0, 2.0]) | {"quality": quality}
    before = BASELINE | {"quality": BASELINE["quality"] | {"frechet_retained": [4.0, 4.0]}}
    row = list_forgetting(tell_run(tmp_path, [before, seeded], seeds=(0, 1)))[1]
    summary = row.probability.summary
    assert (summary.mean, summary.low, summary.high) == (pytest.approx(0.12), 0.05, 0.19)
    assert row.forgotten and row.ratio == pytest.approx(1.25)
    assert (row.cost.seconds, row.cost.evaluations) == (1.5, 200.0)


def test_the_forget_set_auc_is_of_the_attack_that_calibration_chose(tmp_path, tell_run):
    """pia has the larger reported AUC and the weaker calibration; loss is read with the sign it was given."""
    attacks = {
        "loss": {
            "auc": 0.2,
            "calibration_auc": 0.2,
            "forget_auc": (0.3, 0.2, 0.4),
            "oriented_forget_auc": (0.7, 0.6, 0.8),
        },
        "pia": {
            "auc": 0.9,
            "calibration_auc": 0.6,
            "forget_auc": (0.9, 0.8, 1.0),
            "oriented_forget_auc": (0.9, 0.8, 1.0),
        },
    }
    text = section(tell_run(tmp_path, [BASELINE | {"attacks": attacks}]))
    assert "| loss 0.70 [0.60, 0.80] |" in text


def test_a_random_subset_has_its_auc_alone(tmp_path, tell_run):
    attacks = {"loss": {"auc": 0.8, "calibration_auc": 0.8, "oriented_forget_auc": (0.7, 0.6, 0.8)}}
    points = [p | {"quality": {"network_evaluations": BASE}, "attacks": attacks} for p in POINTS[:3]]
    text = section(tell_run(tmp_path, points))
    assert "| point | forget-set AUC of the strongest at DENOISER |" in text
    assert "Forgotten" not in text and "nothing is said" not in text


def test_points_that_were_never_asked_for_the_label_have_no_row(tmp_path, tell_run):
    """A suite of many kinds has a network that knows labels beside one that does not."""
    unasked = POINTS[5] | {"quality": {"network_evaluations": BASE}}
    unasked |= {"attacks": {"loss": {"auc": 0.8, "calibration_auc": 0.8, "oriented_forget_auc": (0.7, 0.6, 0.8)}}}
    found = list_forgetting(tell_run(tmp_path, [*POINTS[:3], unasked]))
    assert [row.point.name for row in found] == ["baseline", "retrain", "erasediff steps=3"]


def test_no_section_where_nothing_was_to_be_forgotten(tmp_path, tell_run):
    plain = BASELINE | {"quality": {"frechet_heldout": 4.0}}
    assert "## Forgetting" not in render(tell_run(tmp_path, [plain]))


def test_a_base_is_found_by_its_methods_and_parameters(tmp_path, tell_run):
    """Two bases of one method in a sweep, and a chain of three."""
    sweep = [
        BASELINE
        | {"point": f"baseline steps={n}", "params": {"steps": n}, "quality": {"network_evaluations": n * 10.0}}
        for n in (9, 90)
    ]
    middle = point("erasediff", 0.1, 0, 1.0) | {"params": {"steps": 3, "baseline.steps": 90}}
    middle |= {"quality": {"network_evaluations": 907.0}}
    top = point("cpsample", 0.1, 0, 1.0) | {"params": {"alpha": 0.5, "erasediff.steps": 3, "baseline.steps": 90}}
    top |= {"chain": ["baseline", "erasediff", "cpsample"], "quality": {"network_evaluations": 1000.0}}
    run = tell_run(tmp_path, [*sweep, middle, top])
    _, large, edited, gated = run.plan.points
    assert find_base(run, edited) == large and find_base(run, gated) == edited and find_base(run, large) is None
    assert [find_cost(run, p).evaluations for p in (large, edited, gated)] == [900.0, 7.0, 93.0]


def test_only_what_was_built_on_the_same_base_is_compared(tmp_path, tell_run):
    """Starting from a larger model, or from another method, is another cost."""
    large = BASELINE | {"point": "baseline steps=90", "params": {"steps": 90}}
    far = point("salun", 0.1, 50.0, 4.0) | {"params": {"steps": 3, "baseline.steps": 90}}
    found = list_comparisons(list_forgetting(tell_run(tmp_path, [*POINTS[:4], large, far])))
    assert [words.split(":")[0] for words in found[0].others] == ["retrain"]
    assert (
        list_comparisons(list_forgetting(tell_run(tmp_path / "alone", [*POINTS[:1], POINTS[3], large, far])))[0].others
        == []
    )


def test_bases_without_parameters_are_told_apart_by_method(tmp_path, tell_run):
    bare = {"params": {}, "quality": {"network_evaluations": 5.0}}
    strange = point("strange", 0.1, 0, 1.0) | bare | {"chain": ["strange"]}
    right = point("right", 0.1, 0, 1.0) | bare | {"chain": ["right"]}
    top = point("erasediff", 0.1, 0, 1.0) | bare | {"chain": ["right", "erasediff"]}
    run = tell_run(tmp_path, [strange, right, top])
    assert find_base(run, run.plan.points[2]).name == "right"


def test_without_its_base_a_point_has_the_cost_of_its_chain(tmp_path, tell_run):
    stranger = point("erasediff steps=30", 0.1, 100.0, 2.0) | {"params": {"steps": 3, "baseline.steps": 10}}
    run = tell_run(tmp_path, [BASELINE, stranger, point("salun steps=3", 0.1, 50.0, 4.0)])
    cost = find_cost(run, run.plan.points[1])
    assert (cost.evaluations, cost.whole, cost.base) == (BASE + 100.0, True, None)
    text = section(run)
    assert "| 1,100 (whole chain) |" in text and "could not be subtracted" in text
    assert list_comparisons(list_forgetting(run)) == []
    assert "could not be subtracted" not in section(tell_run(tmp_path / "with", POINTS))


def test_each_point_is_compared_with_the_baseline_that_it_builds_on(tmp_path, tell_run):
    """Two baselines: the first knows nothing of labels, the second is what erasediff edits."""
    other = point("baseline-label", 0.9, 0.0, 50.0, distance=2.0, role="baseline")
    other |= {"chain": ["baseline"], "params": {"steps": 9}}
    plain = {"point": "baseline", "defense": "baseline", "role": "baseline", "chain": ["baseline"]}
    edited = point("erasediff", 0.1, 100.0, 2.0, distance=3.0, bases=["baseline-label"])
    found = list_forgetting(
        tell_run(tmp_path, [plain | {"quality": {"frechet_heldout": (1.0, 0.5, 2.0)}}, other, edited])
    )
    assert [(row.point.name, row.ratio) for row in found] == [("baseline-label", 1.0), ("erasediff", 1.5)]
    assert known(tell_run(tmp_path, [plain, other, edited]), found)


def test_costs_are_not_compared_with_what_was_wrecked(tmp_path, tell_run):
    """salun is cheapest at 1.75 times the baseline's distance: the dearer point that kept the rest is taken."""
    wrecked, kept = point("salun steps=3", 0.1, 10.0, 0.1, distance=7.0), point("salun steps=30", 0.1, 200.0, 2.0)
    run = tell_run(tmp_path, [BASELINE, point("erasediff", 0.1, 100.0, 2.0), wrecked, kept])
    (one,) = list_comparisons(list_forgetting(run))
    assert [words.split(":")[0] for words in one.others] == ["salun steps=30"]
    assert "2.00x its network evaluations" in one.others[0]

"""Stacks of defenses are read beside their parts: what adds up, what cancels, and what is void."""

import pytest

from leakbench.reports.reading.composition import list_family, list_stacks, list_steps
from leakbench.reports.sections.composition import collect, describe_stack

GUARANTEES = {"dp": {"epsilon": 8.0, "delta": 1e-5}, "dp-guided": {"void": "it reads members"}}


def point(name, chain, bases, left, role="defense"):
    told = {"point": name, "defense": name, "role": role, "chain": chain, "bases": bases}
    return told | {"truth": (left, 0.05, 160.0 if role == "control" else 4.0)}


POINTS = [
    point("baseline", ["baseline"], [], 1.0, "baseline"),
    point("dp", ["dp_sgd"], [], 0.6),
    point("guided", ["baseline", "cpsample"], ["baseline"], 0.6),
    point("dp-guided", ["dp_sgd", "cpsample"], ["dp"], 0.0),
    point("dp-erased", ["dp_sgd", "erasediff"], ["dp"], 0.99),
    point("untrained", ["untrained"], [], 0.0, "control"),
]


@pytest.fixture(scope="module")
def stacked(make_run, tmp_path_factory):
    def change(record):
        return record.model_copy(update={"guarantee": GUARANTEES.get(record.point, {})})

    return make_run(tmp_path_factory.mktemp("stacked"), seeds=(0,), images=False, change=change, points=POINTS)


def test_a_stack_is_beside_its_parts_and_the_baseline_is_no_step(stacked):
    both, erased = list_stacks(stacked)
    assert [part.name for part in both.parts] == ["dp", "guided"]
    assert [part.name for part in erased.parts] == ["dp"]  # erasediff alone was not run
    assert [list_steps(stacked, one) for one in stacked.plan.points[:3]] == [(), ("dp_sgd",), ("cpsample",)]
    assert [one.name for one in list_family(stacked)] == ["baseline", "dp", "guided", "dp-guided", "dp-erased"]


def test_steps_add_up_only_below_every_part_and_cancel_above_any(stacked):
    both, erased = list_stacks(stacked)
    assert describe_stack(both)[0] == ("**dp-guided**, answers: its steps add up: leaks less than dp and guided")
    assert describe_stack(erased)[0] == (
        "**dp-erased**, answers: a step cancels some of what its parts give: leaks more than dp"
    )
    assert "nothing is shown to add up" in describe_stack(both)[1]  # whoever has the weights meets all alike


def test_the_table_says_which_guarantee_stands(stacked):
    found = collect(stacked)
    cells = {row[0]: row for row in found["cells"]}
    stated = found["titles"].index("epsilon stated")
    assert [cells[name][stated] for name in ("baseline", "dp", "dp-guided")] == ["-", "8", "void"]
    assert found["voids"] == [("dp-guided", "it reads members")]
    assert cells["dp-guided"][1] == "dp_sgd > cpsample"


def test_without_a_stack_or_its_parts_there_is_no_section(run, make_run, tmp_path):
    assert collect(run) is None
    assert collect(make_run(tmp_path, seeds=(0,), images=False, points=[POINTS[0], POINTS[3], POINTS[5]])) is None

"""What is claimed is told as it was claimed, what was lost with its reason, and nothing where nothing is."""

from __future__ import annotations

import pytest

from leakbench.reports.figures import privacy
from leakbench.reports.figures.canvas import MissingData
from leakbench.reports.reading.guarantees import list_guarantees
from leakbench.reports.sections.flags import list_raised_flags
from leakbench.reports.site.report import render
from leakbench.reports.tables.terminal import print_table

BASELINE = {"point": "baseline", "defense": "baseline", "role": "baseline", "chain": ["baseline"]}
FREE = {"epsilon": 0.0, "delta": 0.0, "history": []}
UNTRAINED = {"point": "untrained", "defense": "untrained", "role": "control", "chain": ["untrained"], "guarantee": FREE}
CLAIM = {
    "epsilon": 2.9863,
    "delta": 0.0016,
    "adjacency": "zero-out",
    "epsilon_replace_one": 7.4321,
    "accountant": "prv",
    "epsilon_rdp": 3.3149,
    "noise_multiplier": 1.2345,
    "sampling_rate": 0.1,
    "steps": 5000,
    "history": [[1.2345, 0.1, 5000]],
}
AUC = {"loss": {"auc": (0.6, 0.5, 0.7), "calibration_auc": 0.6, "oriented_auc": (0.6, 0.5, 0.7)}}


def private(name, claimed, defense="dp_sgd", chain=("dp_sgd",), **more):
    told = {"point": name, "defense": defense, "role": "defense", "chain": list(chain), "guarantee": claimed}
    return told | {"quality": {"frechet_heldout": (4.0, 3.0, 5.0)}, "attacks": AUC} | more


def section(run):
    return render(run).split("## Guarantees\n")[1].split("\n## ")[0]


def test_a_claim_is_told_in_full(tmp_path, tell_run):
    run = tell_run(tmp_path, [BASELINE, private("dp_sgd epsilon=3", CLAIM), UNTRAINED], seeds=(0, 1))
    lines = [line for line in section(run).splitlines() if line.startswith("|")]
    assert lines[0] == (
        "| point | epsilon | epsilon, one replaced | delta | adjacency | accountant | epsilon by RDP "
        "| noise multiplier | sampling rate | steps |"
    )
    assert lines[2:] == [
        "| dp_sgd epsilon=3 | 2.99 | 7.43 | 0.0016 | zero-out | prv | 3.31 | 1.23 | 0.1 | 5,000 |",
        "| untrained | 0 | - | 0 | - | - | - | - | - | - |",
    ]


BY_IMAGE = CLAIM | {"unit": "image", "epsilon": 2.614, "epsilon_by_group": 21.739, "group_size": 5}
BY_PERSON = CLAIM | {"unit": "group", "epsilon_by_image": 1.25, "group_size": 5, "accountant": "pld"}
WHOLE = CLAIM | {"unit": "group"}


def test_epsilon_is_told_by_image_and_by_person(tmp_path, tell_run, capsys):
    points = [("image", BY_IMAGE), ("example", BY_PERSON), ("user", WHOLE)]
    large = BY_IMAGE | {"group_size": 40}
    del large["epsilon_by_group"]
    run = tell_run(tmp_path, [BASELINE, *(private(*one) for one in [*points, ("large", large)])])
    text = section(run)
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("|")]
    title = rows[0].index("epsilon by image")
    assert rows[0][title + 1] == "epsilon by group (images)" and rows[0][title + 3] == "unit"
    told = {row[1]: [row[2], *row[title : title + 2]] for row in rows[2:]}
    assert told == {
        "image": ["2.61", "2.61", "21.7 (5)"],
        "example": ["2.99", "1.25", "2.99 (5)"],
        "user": ["2.99", "-", "2.99"],
        "large": ["2.61", "2.61", "in the hundreds (40)"],
    }
    assert "- **image**: 2.61 by image is 21.7 for 5 images of a person.\n" in text
    assert "Compare epsilons of one adjacency only, and of one unit." in " ".join(text.split())
    print_table(run)
    said = " ".join(capsys.readouterr().out.split())
    assert "image states epsilon 2.61 by image at delta 0.0016" in said
    assert "2.61 by image is 21.7 for 5 images of a person" in said and "states epsilon 2.99 by group at" in said


def test_epsilons_of_two_units_do_not_stand_on_one_axis(tmp_path, tell_run):
    """By person where that is known; what is known by image alone has no place there."""
    alone = CLAIM | {"unit": "image"}
    points = [private(*one) for one in [("a", BY_IMAGE), ("b", WHOLE), ("c", alone)]]
    found = privacy.collect_data(tell_run(tmp_path, [BASELINE | {"attacks": AUC}, *points]))
    assert {b.point.name: b.epsilon for b in found.budgets} == {"baseline": None, "a": 21.739, "b": 2.9863}
    assert found.axis == "epsilon stated (zero-out, by group)"


def test_a_lost_claim_says_why(tmp_path, tell_run):
    lost = private("erasediff", {"void": "erasediff trains on members"}, defense="erasediff")
    text = section(tell_run(tmp_path, [BASELINE, private("dp_sgd", CLAIM), lost]))
    assert "- **erasediff**: void, since erasediff trains on members.\n" in text
    assert "| erasediff" not in text
    alone = section(tell_run(tmp_path / "alone", [BASELINE, lost]))
    assert "void, since" in alone and "|" not in alone


def test_another_claim_than_epsilon_is_told_as_it_stands(tmp_path, tell_run):
    run = tell_run(tmp_path, [BASELINE, private("k_anonymous", {"k": 5, "over": "images"}, "k_anonymous")])
    text = section(run)
    assert "- **k_anonymous**: states k = 5, over = images.\n" in text and "|" not in text


def test_trainings_one_after_the_other_are_all_told(tmp_path, tell_run):
    twice = CLAIM | {"history": [[1.2345, 0.1, 5000], [2.0, 0.05, 100]], "noise_multiplier": 2.0, "steps": 100}
    text = section(tell_run(tmp_path, [BASELINE, private("dp_sgd", twice)]))
    assert "| 1.23, then 2 | 0.1, then 0.05 | 5,000, then 100 |" in text


def test_seeds_that_claim_different_things_are_not_averaged(tmp_path, tell_run):
    point = private("dp_sgd", CLAIM)
    run = tell_run(tmp_path, [BASELINE, point], seeds=(0,))
    tell_run(tmp_path, [BASELINE, point | {"guarantee": CLAIM | {"epsilon": 4.0}}], seeds=(1,))
    (found,) = list_guarantees(run)
    assert found.epsilon == 4.0 and found.cells[1] == "2.99 / 4"
    tell_run(tmp_path, [BASELINE, point | {"guarantee": {"void": "why"}}], seeds=(2,))
    (found,) = list_guarantees(type(run)(tmp_path))
    assert (found.epsilon, found.holds, found.void) == (None, False, "why")


@pytest.mark.parametrize("points", [[BASELINE], [BASELINE, UNTRAINED], [BASELINE, private("dp_sgd", {})]])
def test_no_section_where_nothing_is_claimed(tmp_path, tell_run, points):
    run = tell_run(tmp_path, points)
    assert "## Guarantees" not in render(run)
    with pytest.raises(MissingData, match="epsilon"):
        privacy.collect_data(run)


def test_the_terminal_has_a_line_a_claim(tmp_path, tell_run, capsys):
    lost = private("erasediff", {"void": "why"}, defense="erasediff")
    print_table(tell_run(tmp_path, [BASELINE, private("dp_sgd", CLAIM), lost, UNTRAINED]))
    said = " ".join(capsys.readouterr().out.split())  # lines are broken at the terminal's width
    assert said.count("epsilon") == 1
    assert "dp_sgd states epsilon 2.99 at delta 0.0016 (adjacency: zero-out, accountant: prv)" in said


def test_a_flag_with_a_number_keeps_it_and_its_meaning(tmp_path, tell_run):
    points = [BASELINE, *(private(f"d={d}", CLAIM, flags=[f"weak-delta={d}"]) for d in (0.01, 0.02))]
    found = [flag for flag in list_raised_flags(tell_run(tmp_path, points)) if flag.name.startswith("weak-delta")]
    assert [flag.name for flag in found] == ["weak-delta=0.01", "weak-delta=0.02"]
    assert {flag.meaning.split(":")[0] for flag in found} == {"delta is not below 1 / number of training images"}


def test_infinity_holds_the_baseline_and_what_claims_nothing(tmp_path, tell_run):
    sweep = [private(f"dp_sgd epsilon={e}", CLAIM | {"epsilon": float(e)}) for e in (3, 1, 30)]
    open_end, lost = private("dp_sgd epsilon=inf", {}), private("erasediff", {"void": "why"}, "erasediff", ("e",))
    found = privacy.collect_data(tell_run(tmp_path, [BASELINE | {"attacks": AUC}, *sweep, open_end, lost, UNTRAINED]))
    assert {b.point.name: b.epsilon for b in found.budgets} == {
        "baseline": None,
        **{f"dp_sgd epsilon={e}": float(e) for e in (3, 1, 30)},
        "dp_sgd epsilon=inf": None,
    }
    assert found.epsilons == [1.0, 3.0, 30.0] and found.infinity > 30.0
    assert found.axis == "epsilon stated (zero-out)"

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

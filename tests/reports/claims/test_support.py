"""`claims init` writes claims that the run bears out: they hold, leave room, and promise what matters of each point."""

from __future__ import annotations

import json

import pytest

from leakbench.reports.claims.claim import read_claims
from leakbench.reports.claims.judge import judge_claim
from leakbench.reports.claims.support import list_supported
from leakbench.reports.reading.tradeoff import tradeoff_table
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder


@pytest.fixture
def sound(make_run, tmp_path):
    return make_run(tmp_path, seeds=(0,), images=False)


def test_the_claims_that_a_run_bears_out_hold_and_read_back(sound, tmp_path, leakbench):
    supported = list_supported(sound)
    found = [one.claim for one in supported if one.claim]
    assert {c.defense for c in found} == {"baseline", "cpsample", "reject_resample"}
    outcome = leakbench("claims", "init", sound.path)
    (tmp_path / "claims.toml").write_text(outcome.out)
    assert outcome.code == 0 and read_claims(tmp_path / "claims.toml") == found
    comments = [line for line in outcome.out.splitlines() if line.startswith("# ")]
    assert comments == [f"# {one.measured}" for one in supported] and all("measured: " in one for one in comments)
    done = leakbench("check", "claims", tmp_path / "claims.toml", sound.path, "--strict")
    assert done.code == 0 and f"{len(found)} hold, 0 broken, 0 undecided" in done.out


def test_the_bounds_of_claims_leave_room_beside_the_reports_intervals(sound):
    table = tradeoff_table(sound).set_index("point")
    supported = list_supported(sound)
    found = [one.claim for one in supported if one.claim]
    strong = [c for c in found if c.attack == "strongest"]
    assert {c.access for c in strong} == {"DENOISER", "WEIGHTS"}
    for c in strong:
        row = table.loc[c.name.partition(":")[0]]
        low, high = (row[f"{c.access.lower()}_auc_{end}"] for end in ("low", "high"))
        room = low - c.at_least if c.at_least is not None else c.at_most - max(high, 1 - low)
        assert room >= 0.01 and (c.at_least or c.at_most) < 1
        assert (c.at_least is None) == (c.defense != "baseline")
        assert round(100 * (c.at_least or c.at_most), 6) % (5 if (c.at_least or c.at_most) <= 0.95 else 1) == 0
    copies = [c for c in found if c.metric == "copy_rate_excess"]
    assert copies and min(c.at_most for c in copies) == 0.05  # of points with fewer copies than chance, too
    margins = [one.margin for c in found for one in judge_claim(sound, c)]
    assert min(margins) > 0.009


@pytest.mark.parametrize("left, bounded, most", [(1.0, 0, 1), (0.9, 2, 0.97), (0.5, 2, 0.6)])
def test_a_model_that_was_given_has_to_leak_at_most_what_it_leaked(tell_run, tmp_path, left, bounded, most):
    """Intervals of +-0.05 are +-0.057 for two attacks together. The bound is the next 0.05 with room of 0.01, the next
    0.01 where that would be 1; of a model that leaks all there is nothing to promise."""
    auc_of = {"auc": (left, left - 0.05, min(1.0, left + 0.05)), "calibration_auc": left}
    run = tell_run(
        tmp_path,
        [{"point": "model", "defense": "model", "role": "baseline", "attacks": {"pia": auc_of, "gsa": auc_of}}],
    )
    for record in [one for one in run.records if one.attack == "gsa"]:
        save_record(tmp_path, record.model_copy(update={"access": "WEIGHTS"}), {})
    plan = json.loads((tmp_path / "plan.json").read_text())
    plan["points"][0]["given"] = True
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    supported = list_supported(RunFolder(tmp_path))
    found = [one.claim for one in supported if one.claim]
    assert [one.access for one in found] == ["DENOISER", "WEIGHTS"][:bounded]
    assert [(one.at_least, one.at_most) for one in found] == [(None, most)] * bounded
    unclaimed = [one.measured for one in supported if not one.claim]
    assert len(unclaimed) == 2 - bounded and all("at_most would be 1; measured: 1 [" in one for one in unclaimed)

"""An audit whose nonmembers are shifted, mirrored or cropped members is void, and lists which ones they are."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import leakbench as lb
from leakbench.reports.sections.section import render_section
from leakbench.results.run_folder import RunFolder


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    from leakbench.runner import run_log

    monkeypatch.setattr(run_log, "FORMATS", ("csv",))


def pictures(count, seed):
    """Pictures of 32x32 grey pixels, each of its own."""
    coarse = np.random.default_rng(seed).normal(size=(count, 9, 9))
    return np.clip(128 + 50 * np.kron(coarse, np.ones((4, 4)))[:, :32, :32], 0, 255).astype(np.uint8)


@pytest.fixture
def audit(tmp_path):
    """audit(members, nonmembers): of generated images, by an attack on these."""

    def run(members, nonmembers):
        more = {"attacks": "gan_leaks", "settings": {"quality.features": "pixels"}, "out": tmp_path / "run"}
        return lb.audit(None, members, nonmembers, samples=pictures(30, 9), workers=1, **more)

    return run


def test_a_split_of_shifted_and_mirrored_members_is_void(audit, tmp_path):
    members = pictures(45, 0)
    moved = np.roll(members, (1, -2), (1, 2))
    with pytest.warns(UserWarning, match="25 of 25 nonmembers show what a member does"):
        audit(members, np.concatenate([moved, members[:20, :, ::-1]]))
    with (tmp_path / "run" / "overlap.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["differs"] for row in rows} == {"shift", "mirror"}
    for row in rows:  # nonmembers are numbered after the 45 members
        assert int(row["member"]) == (int(row["nonmember"]) - 45) % 45
    run = RunFolder(tmp_path / "run")
    assert all("overlapping-sides" in record.flags for record in run.records if record.family == "membership")


def test_some_that_overlap_are_said_and_void_nothing(audit, tmp_path):
    members, nonmembers = pictures(45, 0), pictures(70, 1)
    nonmembers[:8] = np.roll(members[:8], 1, 1)
    found = audit(members, nonmembers)
    split = json.loads((tmp_path / "run" / "plan.json").read_text())["split"]
    count = split["nonmembers_that_overlap_members"]
    assert 0 < count <= 8 and split["nonmembers_compared_for_overlap"] == split["nonmember"] and not found.void
    assert f"**{count} of {split['nonmember']} nonmembers overlap a member**" in render_section(
        "validity", RunFolder(tmp_path / "run")
    )


def test_unrelated_sides_say_nothing(audit, tmp_path):
    found = audit(pictures(45, 0), pictures(70, 1))
    assert not found.void and (tmp_path / "run" / "overlap.csv").read_text().count("\n") == 1
    assert render_section("validity", RunFolder(tmp_path / "run")) == ""


def test_where_near_duplicates_leave_too_few_none_are_spared_for_calibration(audit, tmp_path):
    members = pictures(45, 0)
    members[38:] = members[:7] ^ 1
    audit(members, pictures(70, 1))
    split = json.loads((tmp_path / "run" / "plan.json").read_text())["split"]
    assert (split["member"], split["calibration_in"], split["near_duplicates_removed"]) == (38, 0, 7)

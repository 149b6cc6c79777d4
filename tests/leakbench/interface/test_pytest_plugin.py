"""A test suite of another project audits by a fixture and asserts a claim in one line."""

from __future__ import annotations

import pytest

import leakbench as lb

pytest_plugins = ["pytester"]

OTHERS = """
def test_holds(leakbench_run):
    results = leakbench_run({suite!r}, workers=1, out={out!r})
    results.assert_claim(defense="baseline", attack="strongest", at_most=1.0)

def test_is_broken(leakbench_run):
    results = leakbench_run({suite!r}, workers=1, out={out!r})
    results.assert_claim(defense="baseline", attack="quality", metric="frechet_heldout", at_most=0.001)
"""


def test_a_project_asserts_claims_by_a_fixture(again, pytester):
    pytester.makepyfile(OTHERS.format(suite=str(again.suite), out=str(again.out)))
    before = {path: path.stat().st_mtime_ns for path in (again.out / "records").iterdir()}
    result = pytester.runpytest_inprocess("-p", "no:xdist", "-p", "no:benchmark")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: broken: baseline: frechet_heldout, at most 0.001: *"])
    assert {path: path.stat().st_mtime_ns for path in (again.out / "records").iterdir()} == before  # it was reused


def test_claims_are_judged_from_python_as_by_the_command(finished, tmp_path, leakbench, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # as the command is given here
    results, file = lb.load(finished.out), tmp_path / "claims.toml"
    file.write_text('[[claim]]\nname = "x"\ndefense = "cpsample"\nattack = "pia"\nat_most = 0.75\n')
    found = results.check(file)
    assert [one.point for one in found] == ["cpsample alpha=0.25", "cpsample alpha=0.5"]
    said = leakbench("check", "claims", file, finished.out).out
    assert all(f"{one.outcome:<9}  x ({one.point})\n" in said for one in found)
    assert found.words + "\n" == said and said.splitlines()[-1] in repr(found)
    assert repr(found[0]) == f"Judgement({found[0].outcome!r}, 'x', 'cpsample alpha=0.25')"
    table = found.table()
    assert list(table["point"]) == [one.point for one in found] and list(table["high"]) == [
        one.found.high for one in found
    ]


def test_a_claim_that_cannot_be_decided_does_not_pass_and_a_wrong_key_is_one_line(finished):
    results = lb.load(finished.out)
    found = results.metric("baseline", "pia", "auc")
    with pytest.raises(AssertionError, match=r"undecided: baseline: auc of pia at DENOISER, at most .* images"):
        results.assert_claim(defense="baseline", attack="pia", at_most=max(found.value, 1 - found.value) + 0.01)
    with pytest.raises(lb.UsageError, match=r"assert_claim: unknown key 'at_mots'; did you mean 'at_most'"):
        results.assert_claim(defense="baseline", attack="pia", at_mots=0.6)

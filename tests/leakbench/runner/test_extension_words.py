"""A command that a folder refuses says what would be taken."""

from __future__ import annotations


def test_the_settings_that_made_a_run_are_given_to_paste(leakbench, tmp_path, tiny):
    out, sets = tmp_path / "run", ("--set", "sampler.steps=2", "--set", "seeds=[0, 1]")
    first = leakbench("run", tiny, "--out", out, "--workers", 1, *sets, formats=("csv",))
    assert first.code == 0, first.err
    refused = leakbench("run", tiny, "--out", out, "--workers", 1, "--set", "sampler.steps=3", formats=("csv",))
    assert refused.code == 2 and len(refused.err.splitlines()) == 1
    assert "it was made with --set sampler.steps=2 --set 'seeds=[0, 1]': give that again to add to it" in refused.err

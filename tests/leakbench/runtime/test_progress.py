"""A long phase says what it does, the innermost one alone; a short one says nothing."""

from __future__ import annotations

import time

from leakbench.runtime.progress import progress


def wait_for(capsys, words):
    """All that is printed until these words are."""
    said, end = "", time.perf_counter() + 10
    while words not in said and time.perf_counter() < end:
        time.sleep(0.01)
        said += capsys.readouterr().err
    return said


def test_a_long_phase_speaks_again_and_again(capsys):
    steps = iter(range(10**6))
    with progress(lambda: f"step {next(steps)}", 0.01, 0.01):
        said = wait_for(capsys, "step 3")
    assert said.startswith("leakbench: step 0 (0 s so far)\n") and "step 3" in said
    assert capsys.readouterr().out == ""


def test_the_innermost_phase_speaks_and_the_outer_one_after_it(capsys):
    with progress("outer", 0.01, 0.01):
        assert "outer" in wait_for(capsys, "outer")
        with progress("inner", 0.01, 0.01):
            wait_for(capsys, "inner")
            assert "outer" not in wait_for(capsys, "inner")
        assert "outer" in wait_for(capsys, "outer")


def test_a_short_phase_is_silent_and_errors_go_through(capsys):
    try:
        with progress("never"):
            raise ValueError("own")
    except ValueError as error:
        assert str(error) == "own"
    time.sleep(0.05)
    assert capsys.readouterr().err == ""

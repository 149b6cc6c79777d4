"""What the harness itself costs: a command's start, planning ten thousand cells, and what of `quick` is no computing;
and what its plan foresees beside what comes.

    pytest benchmarks/speed/test_harness.py -s

Seconds are the processor's, but those of plans, which are by the clock. A run with nothing left to do starts, plans and
checks every record; a report reads and draws them all.
"""

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from leakbench.measurement.compatibility import check_compatibility
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.runner.plan import Plan
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

SUITE = """
name = "many"
dataset = "digits"
seeds = [0, 1]
[split]
members = 100
nonmembers = 300
[[defense]]
name = "baseline"
[[defense]]
name = "cpsample"
base = "baseline"
scale = {scales}
[[attack]]
name = "loss"
[[attack]]
name = "pia"
"""


def children(go: Callable[[], object]) -> float:
    """Processor seconds of the processes that this one starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    go()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def leakbench(*words: str, **env: str) -> str:
    command = [sys.executable, "-m", "leakbench.cli", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | env).stdout


def planned_seconds(*words: str, **env: str) -> float:
    """Seconds by the clock that a plan foresees."""
    plan = leakbench("run", *words, "--plan", **env)
    return 60 * float(re.findall(r"^about ([\d.]+) minutes", plan, re.MULTILINE)[0])


def plan_seconds(tmp_path, releases: int) -> float:
    path = tmp_path / f"{releases}.toml"
    path.write_text(SUITE.format(scales=[round(0.01 * (n + 1), 2) for n in range(releases)]))
    began = time.process_time()
    inputs = RunInputs(load(str(path)), RunConfig(tmp_path / "run", tmp_path / "cache"))
    check_compatibility(inputs)
    assert len(Plan(ReleaseBuilder(inputs)).cells) > 2 * releases
    return time.process_time() - began


def test_the_start_of_a_command(fact):
    leakbench("--help")
    fact("`leakbench --help`", min(children(lambda: leakbench("--help")) for _ in range(5)), "s", at_most=0.5)


def test_a_plan_of_ten_thousand_cells(fact, tmp_path):
    plan_seconds(tmp_path, 10)  # the digests of the code, once a process
    few, many = plan_seconds(tmp_path, 500), plan_seconds(tmp_path, 5000)
    fact("a plan of 10,007 cells, after the first in a process", many, "s", at_most=2)
    fact("time a cell, 10,000 cells over 1,000", many / few / 10, "times", at_most=1.5)


def test_the_harness_of_quick(fact, tmp_path):
    env = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")} | {"LEAKBENCH_CACHE": str(tmp_path / "c")}
    out = str(tmp_path / "run")
    foreseen, began = planned_seconds("quick", "--out", out, **env), time.monotonic()
    leakbench("run", "quick", "--out", str(tmp_path / "timed"), **env | {"LEAKBENCH_CACHE": str(tmp_path / "d")})
    fact("`quick` by the clock, over what its plan foresees", (time.monotonic() - began) / foreseen, "times")
    whole, again = (children(lambda: leakbench("run", "quick", "--out", out, **env)) for _ in range(2))
    fact("`quick` once more, with nothing left to do, over the whole", again / whole)
    fact("the report of `quick` over the whole", children(lambda: leakbench("report", out, **env)) / whole)


@pytest.mark.parametrize("seeds", [4])
def test_seeds(fact, tmp_path, seeds):
    """The computing of a suite at several seeds over that at one, a seed."""
    path = tmp_path / "seeds.toml"
    path.write_text(SUITE.format(scales=[1.0, 10.0]) + "[quality]\nsamples = 200\n")

    def run(many: int) -> float:
        out, cache = tmp_path / str(many), str(tmp_path / f"cache{many}")
        words = ["run", str(path), "--out", str(out), "--set", f"seeds={list(range(many))}"]
        words += ["--set", "defense.baseline.steps=1500", "--set", "defense.cpsample.steps=300"]
        return children(lambda: leakbench(*words, LEAKBENCH_CACHE=cache, OMP_NUM_THREADS="1"))

    one = run(1)
    fact(f"time a seed, {seeds} seeds over 1", run(seeds) / one / seeds, "times", at_most=1.1)

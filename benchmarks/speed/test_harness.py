"""What the harness itself costs: a command's start, planning ten thousand cells, and all of `quick` but its computing.

    pytest benchmarks/speed/test_harness.py -s

Seconds are the processor's. The computing of `quick` is what its records say under timings: training, sampling, attacks
and quality, each release's once; all else counts as harness: starting three Python processes, which import torch, and
drawing the report with its figures among it.
"""

import csv
import os
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


def leakbench(*words: str, **env: str) -> None:
    command = [sys.executable, "-m", "leakbench.cli", *words]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | env)


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


def test_quick_but_its_computing(fact, tmp_path):
    env = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")} | {"LEAKBENCH_CACHE": str(tmp_path / "c")}
    whole = children(lambda: leakbench("run", "quick", "--out", str(tmp_path / "run"), **env))
    once = {}
    with (tmp_path / "run" / "timings.csv").open() as file:
        for row in csv.DictReader(file):
            alone = row["attack"] if row["name"] == "attack" else ""
            once[row["point"], row["seed"], row["name"], alone] = float(row["seconds"])
    computing = 0.0
    for (point, _, name, _), seconds in once.items():
        trained = point in ("baseline", "cpsample scale=1.0")  # the others have theirs from these
        if name != "train" and (name != "train_last" or trained):
            computing += seconds
    fact("`quick`: harness over computing", (whole - computing) / computing)


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

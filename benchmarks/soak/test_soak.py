"""A suite over and over: memory, open files, threads, temporary files, cache and run folder must not grow.

    pytest benchmarks/soak -s
    LEAKBENCH_SOAK_TIMES=5 LEAKBENCH_SOAK_SUITE=quick pytest benchmarks/soak -s

Each time trains, attacks and reports all anew (`--rerun all`), 30 times if the environment does not say otherwise: in
one process through `leakbench.run`, as a service or a notebook would, and through the command line with two workers.
What is left after a time is printed as a row. The rule: the mean of the last five times less that of five times after
the first five (of fewer than 15 times, a third each) is below a bound. `test_the_rule_can_fail` shows that it finds a
leak.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import leakbench

TIMES = int(os.environ.get("LEAKBENCH_SOAK_TIMES", "30"))
SUITE = os.environ.get("LEAKBENCH_SOAK_SUITE", "")
TINY = """
name = "soak"
dataset = "digits"
split = { members = 40, nonmembers = 40, calibration_in = 20, calibration_out = 20 }
network = { width = 32, blocks = 1 }
sampler = { steps = 5, batch = 64 }
quality = { samples = 60, features = "classifier" }
defense = [
  { name = "baseline", steps = 60, batch = 32 },
  { name = "cpsample", base = "baseline", steps = 40, batch = 32, width = 32, blocks = 1, alpha = [0.25, 0.5] },
]
attack = [{ name = "loss" }, { name = "pia" }, { name = "nearest_copy" }]
"""
BOUNDS = {  # growth that is none
    "memory, MB": 8.0,  # the allocator's; a network, its samples or a figure that stays is more, 20 times over
    "open files": 0.5,
    "threads": 0.5,
    "temporary files": 0.5,
    "cache, files": 0.5,
    "cache, KB": 64.0,
    "run, files": 0.5,
    "run, KB": 64.0,  # times of a command stand in history.json
}


def measure(home: Path) -> dict[str, float]:
    """What this process holds, and what lies on the disk, by the names of BOUNDS."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    found = {
        "memory, MB": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "open files": float(len(os.listdir("/proc/self/fd"))),
        "threads": float(threading.active_count()),
        "temporary files": float(sum(1 for _ in (home / "tmp").rglob("*"))),
    }
    for name in ("cache", "run"):
        files = [path for path in (home / name).rglob("*") if path.is_file()]
        found |= {f"{name}, files": float(len(files)), f"{name}, KB": sum(path.stat().st_size for path in files) / 1e3}
    return found


def growth(rows: list[dict[str, float]]) -> dict[str, float]:
    """The mean of the last rows less that of the rows after the first, by name."""
    part = min(5, len(rows) // 3)
    early, late = rows[part : 2 * part], rows[-part:]
    return {name: sum(row[name] for row in late) / part - sum(row[name] for row in early) / part for name in rows[0]}


def repeat(once: Callable[[], object], home: Path, times: int = TIMES) -> dict[str, float]:
    """Do something so many times, print what is left after each, and return what has grown beyond its bound."""
    rows = []
    print(f"\n{'':>5}" + "".join(f"{name:>17}" for name in BOUNDS))
    for number in range(1, times + 1):
        once()
        rows.append(measure(home))
        print(f"{number:>5}" + "".join(f"{rows[-1][name]:>17.1f}" for name in BOUNDS), flush=True)
    found = growth(rows)
    print(" grew" + "".join(f"{found[name]:>17.2f}" for name in BOUNDS))
    return {name: value for name, value in found.items() if value > BOUNDS[name]}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with the suite, a cache, and the folder of temporary files of this process and its children."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "soak.toml").write_text(TINY)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("LEAKBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def suite_of(home: Path) -> str:
    return SUITE or str(home / "soak.toml")


@pytest.mark.filterwarnings("ignore:.*void")  # so few images say nothing
def test_in_one_process(home):
    grown = repeat(lambda: leakbench.run(suite_of(home), out=home / "run", workers=1, rerun="all"), home)
    assert grown == {}


def test_through_the_command_line(home):
    command = [sys.executable, "-m", "leakbench.cli", "run", suite_of(home), "--out", str(home / "run")]

    def once() -> None:
        done = subprocess.run([*command, "--workers", "2", "--rerun", "all"], capture_output=True, check=False)
        assert done.returncode in (0, 3), done.stderr

    assert repeat(once, home) == {}


def test_the_rule_can_fail(home):
    kept: list[object] = []

    def leak() -> None:
        kept.append(bytearray(os.urandom(2**20)))
        kept.append(open(os.devnull))  # noqa: SIM115
        tempfile.mkdtemp()

    assert repeat(leak, home, 30).keys() == {"memory, MB", "open files", "temporary files"}
    for one in kept[1::2]:
        one.close()  # type: ignore[attr-defined]

"""Two processes that do one run: the same samples, scores and records, the same weights within rounding.

The processes are started as torchrun starts them, by its variables, and talk by gloo on the CPU.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from leakbench.results.run_folder import RunFolder
from leakbench.runtime import distributed

_BOTH = """
import sys, torch
from pathlib import Path
from torch import nn
from leakbench import group, networks
from leakbench.attacks.membership.loss import Loss
from leakbench.api import Release
from leakbench.defenses.cpsample import ProtectedRelease
from leakbench.device import Streams, prepare
from leakbench.diffusion import Schedule
from leakbench.networks import NetworkSpec
from leakbench.scoring import Asked, Images, Target
from leakbench.training import Recipe, train

group.join("cpu")
prepare(torch.device("cpu"))
streams = Streams("group", 0)
spec = NetworkSpec(kind="mlp", shape=(1, 4, 4), width=16, blocks=1)
network = networks.build(spec, streams.of("weights"))
images = streams.of("images").normal(torch.arange(50), spec.shape).clamp(-1, 1)

def loss(module, batch):
    return (module(images[batch.index] + batch.noise, batch.t) - batch.noise).square().mean()

with group.training():
    train(network, loss, Recipe(40, batch=BATCH, ema=0.9), stream=streams.of("train"), count=50, timesteps=10,
        noise_shape=spec.shape)
weights = torch.cat([p.flatten() for p in network.parameters()])
fixed = networks.build(spec, streams.of("weights", 2)).eval().requires_grad_(False)
judge = networks.build(spec.model_copy(update={"outputs": "logit"}), streams.of("judge")).eval()
plain = Release(fixed, Schedule(steps=4), streams, spec.shape, torch.device("cpu"), batch=8)
guarded = ProtectedRelease.wrap(plain, parts={"classifier": judge}, alpha=0.45, scale=1.0)
found = {"weights": weights, "few": plain.sample(5)}
found |= {"samples": guarded.sample(COUNT), "facts": guarded.facts()}
target = Target.of(plain, streams)
for count in (5, COUNT):
    rows = torch.arange(count)
    scores, queries = target.score({"l": Asked(Loss(), False)}, Images(images[:count], rows, None))
    found |= {f"scores {count}": torch.from_numpy(scores["l"]), f"queries {count}": queries}
found["errors"] = []
try:
    group.first(lambda: 1 / (1 - group.leads()))
except ZeroDivisionError as error:
    found["errors"].append(str(error))
torch.save(found, Path(sys.argv[1]) / f"{group.leads()}.pt")
group.leave()
"""


def started(arguments: list[str], processes: int, home: Path) -> None:
    """Run python with these arguments in so many processes of one group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    running = []
    for rank in range(processes):
        variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
        told = {key: str(value) for key, value in variables.items()} if processes > 1 else {}
        environment = os.environ | told | {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
        with (home / f"log{rank}").open("w") as log:
            running.append(subprocess.Popen([sys.executable, *arguments], env=environment, stdout=log, stderr=log))
    try:
        codes = [one.wait(timeout=150) for one in running]
    finally:
        for one in running:  # where one has failed the others wait for it
            one.kill()
    assert codes == [0] * processes, "\n".join((home / f"log{rank}").read_text() for rank in range(processes))


def results(processes: int, home: Path, batch: int = 15, count: int = 37) -> list[dict]:
    home.mkdir()
    started(["-c", _BOTH.replace("BATCH", str(batch)).replace("COUNT", str(count)), str(home)], processes, home)
    return [torch.load(home / f"{leads}.pt") for leads in (True, False)[:processes]]


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path):
    (alone,), both = results(1, tmp_path / "one"), results(2, tmp_path / "two")
    for found in both:
        torch.testing.assert_close(found["weights"], alone["weights"], atol=1e-5, rtol=0)
        assert torch.equal(found["weights"], both[0]["weights"])
        for key in ("samples", "few", "scores 5", "scores 37"):
            assert torch.equal(found[key], alone[key]), key
        for key in ("facts", "queries 5", "queries 37", "errors"):
            assert found[key] == alone[key], key
    assert alone["facts"]["gate_rate_by_t"] and alone["errors"] == ["division by zero"]
    assert not torch.equal(alone["weights"], torch.zeros_like(alone["weights"]))


@pytest.mark.slow
def test_a_run_of_two_processes_writes_the_records_of_one(tiny, tmp_path, cache):
    """Two train and audit from nothing; then one draws and audits anew, from the same networks, as training agrees
    within rounding only."""
    run = ["-m", "leakbench.cli", "run", str(tiny), "--device", "cpu", "--out"]
    started([*run, str(tmp_path / "two")], 2, tmp_path)
    assert "[1/" not in (tmp_path / "log1").read_text()  # one process speaks for both
    assert not [path for path in cache.rglob("*") if path.name.startswith(".")]  # nothing is left of the other's
    shutil.rmtree(cache / "samples")
    started([*run, str(tmp_path / "one"), "--workers", "1"], 1, tmp_path)
    assert "train" not in (tmp_path / "log0").read_text()
    one, two = (RunFolder(tmp_path / name) for name in ("one", "two"))
    assert one.records and [r.digest for r in one.records] == [r.digest for r in two.records]
    assert (tmp_path / "one/results.csv").read_bytes() == (tmp_path / "two/results.csv").read_bytes()


@pytest.mark.parametrize(("count", "unit", "size"), [(10, 4, 2), (3, 4, 2), (16, 4, 3), (1, 1, 4), (37, 8, 5)])
def test_shares_are_whole_units_and_cover_every_row_once(monkeypatch, count, unit, size):
    rows = []
    for rank in range(size):
        monkeypatch.setattr(distributed, "_group", distributed._Group(rank=rank, size=size))
        mine = distributed.share(count, unit)
        assert mine.start % unit == 0 or mine.start == mine.stop == count
        rows += range(mine.start, mine.stop)
    assert rows == list(range(count))


def test_alone_a_process_of_a_group_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(distributed, "_group", distributed._Group(rank=1, size=2, training=True))
    assert distributed.size() == 2 and distributed.trains() and not distributed.leads()
    with distributed.alone():
        assert distributed.size() == 1 and not distributed.trains() and distributed.share(10, 4) == slice(0, 10)
        assert distributed.first(lambda: 7) == 7 and distributed.joined({"a": 3}) == {"a": 3}
        assert distributed.total(torch.ones(2)).tolist() == [1, 1]
    assert distributed.size() == 2


def test_without_torchrun_nothing_is_joined(monkeypatch):
    for name in distributed._VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert distributed.join("cpu") == "cpu" and distributed.size() == 1 and distributed.leads()

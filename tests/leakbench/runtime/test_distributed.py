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
from leakbench.api import Release
from leakbench.attacks.membership.loss import Loss
from leakbench.data.image_batch import Images
from leakbench.defenses.cpsample import ProtectedRelease
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.models import networks
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.models.training.loop import Recipe, train
from leakbench.runtime import distributed
from leakbench.runtime.device import Rng, prepare

distributed.init_process_group("cpu")
prepare(torch.device("cpu"))
streams = Rng("group", 0)
spec = NetworkSpec(kind="mlp", shape=(1, 4, 4), width=16, blocks=1)
network = networks.build(spec, streams.of("weights"))
images = streams.of("images").normal(torch.arange(50), spec.shape).clamp(-1, 1)

def loss(module, batch):
    return (module(images[batch.index] + batch.noise, batch.t) - batch.noise).square().mean()

with distributed.data_parallel():
    train(network, loss, Recipe(40, batch=BATCH, ema=0.9), stream=streams.of("train"), count=50, timesteps=10,
        noise_shape=spec.shape)
weights = torch.cat([p.flatten() for p in network.parameters()])
fixed = networks.build(spec, streams.of("weights", 2)).eval().requires_grad_(False)
judge = networks.build(spec.model_copy(update={"outputs": "logit"}), streams.of("judge")).eval()
plain = Release(fixed, Schedule(steps=4), streams, spec.shape, torch.device("cpu"), batch=8)
guarded = ProtectedRelease.wrap(plain, parts={"classifier": judge}, alpha=0.45, scale=1.0)
found = {"weights": weights, "few": plain.sample(5)}
found |= {"samples": guarded.sample(COUNT), "facts": guarded.facts()}
target = AttackTarget.of(plain, streams)
for count in (5, COUNT):
    rows = torch.arange(count)
    scores, queries = target.score({"l": AttackRequest(Loss(), False)}, Images(images[:count], rows, None))
    found |= {f"scores {count}": torch.from_numpy(scores["l"]), f"queries {count}": queries}
found["errors"] = []
try:
    distributed.broadcast(lambda: 1 / distributed.rank())
except ZeroDivisionError as error:
    found["errors"].append(str(error))
torch.save(found, Path(sys.argv[1]) / f"{distributed.rank()}.pt")
distributed.destroy_process_group()
"""


def environments(processes: int) -> list[dict[str, str]]:
    """Variables of each process of a group, as torchrun sets them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    alike = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
    return (
        [alike | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)] if processes > 1 else [{}]
    )


def told(home: Path, processes: int) -> str:
    return "\n".join((home / f"log{rank}").read_text() for rank in range(processes))


def started(words: list[str], processes: int, home: Path) -> None:
    """Run `leakbench WORDS` in so many real processes of one group."""
    running = []
    for rank, variables in enumerate(environments(processes)):
        with (home / f"log{rank}").open("w") as log:
            command = [sys.executable, "-m", "leakbench.cli", *words]
            running.append(subprocess.Popen(command, env=os.environ | variables, stdout=log, stderr=log))
    try:
        codes = [one.wait(timeout=150) for one in running]
    finally:
        for one in running:  # where one has failed the others wait for it
            one.kill()
    assert codes == [0] * processes, told(home, processes)


_PRELUDE = """
import os, sys
os.environ.update({variables!r})
sys.argv = ["-c", {home!r}]
for descriptor in (1, 2):
    os.dup2(os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
"""


@pytest.fixture
def run_code(forkserver):
    """run_code(code, processes, home): that program, told `home`, in so many processes of one group."""

    def run(code, processes, home):
        running = []
        for rank, variables in enumerate(environments(processes)):
            own = _PRELUDE.format(variables=variables, home=str(home), log=str(home / f"log{rank}"))
            running.append(forkserver.Process(target=exec, args=(own + code, {"__name__": "__main__"})))
        for one in running:
            one.start()
        try:
            for one in running:
                one.join(150)
            codes = [one.exitcode for one in running]
        finally:
            for one in running:
                one.kill()
        assert codes == [0] * processes, told(home, processes)

    return run


@pytest.fixture
def results(run_code):
    """results(processes, home): what each process finds."""

    def found(processes, home, batch=15, count=37):
        home.mkdir()
        run_code(_BOTH.replace("BATCH", str(batch)).replace("COUNT", str(count)), processes, home)
        return [torch.load(home / f"{rank}.pt") for rank in range(processes)]

    return found


@pytest.mark.slow
def test_two_processes_find_what_one_finds(results, tmp_path):
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


_ERRORS_AND_CHECKPOINTS = """
import sys, threading, torch
from pathlib import Path
from torch import nn
from leakbench.models.training.checkpoints import resume
from leakbench.models.training.loop import Recipe, optimise
from leakbench.runtime import distributed
from leakbench.runtime.device import Rng

class Unpicklable(Exception):
    def __init__(self, lock, text):
        super().__init__(text)
        self.lock = lock

class Unmakeable(Exception):  # pickled, but not made again: its argument is not in args
    def __init__(self, text, *, wanted):
        super().__init__(text)

def fail(error):
    raise error

distributed.init_process_group("cpu")
rank, heard = distributed.rank(), []
for make in (lambda: fail(Unpicklable(threading.Lock(), "locked")), lambda: fail(Unmakeable("odd", wanted=1)),
             lambda: threading.Lock(), lambda: fail(ValueError("plain"))):
    try:
        distributed.broadcast(make)
    except Exception as error:
        heard.append(str(error))

# Each rank has a training of its own, stopped after another number of steps; rank 0's checkpoint counts.
folder = Path(sys.argv[1])
def training(steps, checkpoint, seed, progress=None):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Linear(3, 2)
    def rule(module, x):
        (module(x) ** 2).mean().backward()
    batches = lambda first, last: [torch.full((1, 3), float(step + 1)) for step in range(first, last)]
    return optimise(module, rule, Recipe(steps, batch=1), batches, stream=Rng("d", 0).of("s"), checkpoint=checkpoint,
                    progress=progress)

class Killed(Exception):
    pass

def kill(after):
    def progress(done):
        if done >= after:
            raise Killed
    return progress

own = folder / f"rank{rank}.safetensors"
with distributed.single_process():
    for path in [own] if rank == 0 else []:
        try:
            training(1600, path, 0, kill(600))
        except Killed:
            pass
    whole = training(1600, None, 0)
told = []
both = training(1600, own, rank, told.append)
found = {"heard": heard, "first step": told[0], "whole": [*whole.parameters()], "resumed": [*both.parameters()]}
torch.save(found, folder / f"{rank}.pt")
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_errors_of_rank_0_reach_every_rank_and_its_checkpoint_counts_for_all(run_code, tmp_path):
    """Rank 1 sees no checkpoint: it takes the state, and the number of steps, that rank 0 read."""
    run_code(_ERRORS_AND_CHECKPOINTS, 2, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert first["heard"][0] == "locked" and "Unpicklable: locked" in second["heard"][0]
    assert first["heard"][1] == "odd" and "Unmakeable: odd" in second["heard"][1]
    assert all("pickle" in found["heard"][2] for found in (first, second))
    assert first["heard"][3] == second["heard"][3] == "plain"
    assert first["first step"] == second["first step"] > 500
    for ours, theirs, undisturbed in zip(first["resumed"], second["resumed"], first["whole"], strict=True):
        assert torch.equal(ours, theirs) and torch.equal(ours, undisturbed)


def test_a_rank_waits_for_hours_at_most(monkeypatch):
    said = {}
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *words, **named: said.update(named))
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    for name in distributed._VARIABLES:
        monkeypatch.setenv(name, "2")
    distributed.init_process_group("cpu")
    assert 3600 <= said["timeout"].total_seconds() < 86_400


@pytest.mark.slow
def test_a_run_of_two_processes_writes_the_records_of_one(leakbench, tiny, tmp_path, cache):
    """Two train and audit from nothing; then one draws and audits anew, from the same networks, as training agrees
    within rounding only."""
    started(["run", str(tiny), "--device", "cpu", "--out", str(tmp_path / "two")], 2, tmp_path)
    assert "[1/" not in (tmp_path / "log1").read_text()  # one process speaks for both
    assert not [path for path in cache.rglob("*") if path.name.startswith(".")]  # nothing is left of the other's
    shutil.rmtree(cache / "samples")
    alone = leakbench("run", tiny, "--device", "cpu", "--out", tmp_path / "one", "--workers", 1)
    assert alone.code == 0 and "  train " not in alone.out
    one, two = (RunFolder(tmp_path / name) for name in ("one", "two"))
    assert one.records and [r.digest for r in one.records] == [r.digest for r in two.records]
    assert (tmp_path / "one/results.csv").read_bytes() == (tmp_path / "two/results.csv").read_bytes()


@pytest.mark.parametrize(("count", "unit", "size"), [(10, 4, 2), (3, 4, 2), (16, 4, 3), (1, 1, 4), (37, 8, 5)])
def test_shares_are_whole_units_and_cover_every_row_once(monkeypatch, count, unit, size):
    rows = []
    for rank in range(size):
        monkeypatch.setattr(distributed, "_group", distributed._Group(rank=rank, world_size=size))
        mine = distributed.shard(count, unit)
        assert mine.start % unit == 0 or mine.start == mine.stop == count
        rows += range(mine.start, mine.stop)
    assert rows == list(range(count))


def test_alone_a_process_of_a_group_waits_for_nobody(monkeypatch):
    monkeypatch.setattr(distributed, "_group", distributed._Group(rank=1, world_size=2, data_parallel=True))
    assert distributed.world_size() == 2 and distributed.is_data_parallel() and distributed.rank() != 0
    with distributed.single_process():
        assert (
            distributed.world_size() == 1
            and not distributed.is_data_parallel()
            and distributed.shard(10, 4) == slice(0, 10)
        )
        assert distributed.broadcast(lambda: 7) == 7 and distributed.all_reduce_min({"a": 3}) == {"a": 3}
        assert distributed.all_reduce(torch.ones(2)).tolist() == [1, 1]
    assert distributed.world_size() == 2


def test_without_torchrun_nothing_is_joined(monkeypatch):
    for name in distributed._VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert distributed.init_process_group("cpu") == "cpu" and distributed.world_size() == 1 and distributed.rank() == 0

"""torch.compile is taken where a trial finds it faster and right, tried for long work alone, and never on the CPU."""

from __future__ import annotations

import json
from contextlib import contextmanager
from math import ceil

import pytest
import torch
from torch import nn

from leakbench.api import Release
from leakbench.models import networks, sampling
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.models.training import loop
from leakbench.runtime import device, distributed
from leakbench.runtime.device import (
    AdaptiveBatch,
    Rng,
    compile,
    merge_execution_notes,
    record_batch_reductions,
    record_execution,
)

CPU = torch.device("cpu")


class Clock:
    """Moves by what a call costs: `cost` of the eager forward, another one's of the compiled."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def workshop(eager: float, compiled: float, wrong: float = 0.0, broken: Exception | None = None):
    """A module, a step, a compiler and a clock: a step takes so many seconds with or without the compiler."""
    module, clock, x = nn.Linear(4, 4), Clock(), torch.ones(3, 4)
    inner = module.forward

    def slow(value: torch.Tensor) -> torch.Tensor:
        clock.now += eager
        return inner(value)

    def compiler(forward):
        def fast(value: torch.Tensor) -> torch.Tensor:
            if broken:
                raise broken
            clock.now += compiled
            return inner(value) * (1 + wrong)

        return fast

    module.forward = slow
    return module, lambda: [module(x)], compiler, clock


@pytest.mark.parametrize(
    ("eager", "compiled", "calls", "wanted"),
    [
        (1.0, 0.5, 1000, True),
        (1.0, 0.99, 1000, False),  # no more than noise
        (1.0, 2.0, 1000, False),
        (1.0, 0.1, 250, False),  # too short for a trial
        (0.001, 0.0001, 300_001, True),
    ],
)
def test_the_faster_one_is_chosen_and_short_work_is_not_tried(eager, compiled, calls, wanted):
    module, step, compiler, clock = workshop(eager, compiled)
    assert compile.compile_pays_off(module, step, calls, CPU, compiler, clock) is wanted
    before = clock.now
    step()
    assert clock.now - before == pytest.approx(eager)  # the module is as it was
    assert clock.now < 10 * (eager + compiled)  # what the trial took


@pytest.mark.parametrize(
    ("options", "said"), [({"wrong": 0.05}, "differ by 5.0%"), ({"broken": RuntimeError("none")}, "RuntimeError")]
)
def test_wrong_answers_and_a_broken_compiler_are_said_in_one_line_and_left(options, said, capsys):
    module, step, compiler, clock = workshop(1.0, 0.1, **options)
    assert compile.compile_pays_off(module, step, 1000, CPU, compiler, clock) is False
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and torch.equal(step()[0], step()[0])


@pytest.mark.parametrize("wrapped", [False, True])
def test_memory_that_runs_out_in_the_compiled_trial_decides_nothing(wrapped, tmp_path, capsys):
    broken: Exception = torch.cuda.OutOfMemoryError("simulated")
    if wrapped:  # as torch's compiler raises what a backend raised
        broken, broken.__cause__ = RuntimeError("backend"), broken
    module, step, compiler, clock = workshop(1.0, 0.1, broken=broken)
    plain, path = module.forward, tmp_path / "trial.json"
    assert (
        compile.cached_decision(path, lambda: compile.compile_pays_off(module, step, 1000, CPU, compiler, clock))
        is False
    )
    assert not path.exists() and module.forward == plain and not capsys.readouterr().err
    assert compile.cached_decision(path, lambda: True) is True  # asked again


def test_batches_that_only_the_compiled_trial_halves_are_whole_afterwards_and_decide_nothing():
    module, x, room = nn.Linear(2, 2), torch.ones(8, 2), AdaptiveBatch("trial", CPU, 8)

    def step():
        return [room.attempt(lambda rows: module(x[:rows]))]

    def compiler(forward):
        def hungry(value: torch.Tensor) -> torch.Tensor:
            if len(value) > 2:
                raise torch.cuda.OutOfMemoryError("simulated")
            return forward(value)

        return hungry

    ticks = iter(range(0, 10**6, 100))
    with record_batch_reductions() as note:
        assert compile.compile_pays_off(module, step, 1000, CPU, compiler, lambda: float(next(ticks))) is None
    assert room.rows == 8 and note == {}


def test_memory_that_runs_out_in_the_plain_trial_is_no_error():
    def step():
        raise torch.cuda.OutOfMemoryError("simulated")

    assert compile.compile_pays_off(nn.Linear(1, 1), step, 1000, CPU) is None


def test_a_compiled_forward_that_fails_later_gives_way_to_the_plain_one_but_not_for_memory(capsys):
    def fails(value):
        raise error

    error: Exception = RuntimeError("another shape")
    either = compile._or(fails, lambda value: value + 1)
    assert either(1) == either(1) == 2 and capsys.readouterr().err.count("RuntimeError") == 1
    error = torch.cuda.OutOfMemoryError("simulated")
    with pytest.raises(torch.cuda.OutOfMemoryError):
        compile._or(fails, lambda value: value + 1)(1)


def test_not_a_number_is_never_close():
    nothing = [torch.full((2,), torch.nan)]
    assert compile.difference([torch.ones(2)], nothing) == compile.difference(nothing, nothing) == float("inf")
    assert compile.difference([torch.ones(4)], [torch.ones(4) * 1.01]) == pytest.approx(0.01, rel=1e-4)


def test_an_answer_is_asked_for_once_and_kept(tmp_path):
    asked, path = [], tmp_path / "deep" / "trial.json"

    def ask(answer):
        return lambda: (asked.append(answer), answer)[1]

    assert (
        compile.cached_decision(path, ask(None)) is False and not path.exists()
    )  # memory ran out: the next may decide
    assert compile.cached_decision(path, ask(True)) is True and json.loads(path.read_text()) == {"compiled": True}
    assert compile.cached_decision(path, ask(False)) is True and asked == [None, True]
    path.write_text("{ damaged")
    assert compile.cached_decision(path, ask(False)) is False and len(asked) == 3
    assert [p.name for p in path.parent.iterdir()] == ["trial.json"]


@pytest.mark.parametrize("links", [True, False])
def test_of_two_that_ask_at_the_same_time_the_first_answer_is_both_ones(tmp_path, monkeypatch, links):
    path = tmp_path / "trial.json"

    def ask() -> bool:
        assert compile.cached_decision(path, lambda: False) is False  # the other one answers in the meantime
        return True

    if not links:
        monkeypatch.setattr(compile.os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links here")))
    assert compile.cached_decision(path, ask) is False
    assert json.loads(path.read_text()) == {"compiled": False} and len(list(tmp_path.iterdir())) == 1


def test_the_choice_is_asked_for_alike_however_many_processes_share_the_samples(monkeypatch):
    spec, asked = NetworkSpec(kind="mlp", shape=(1, 4, 4), width=8, blocks=1), []
    network = networks.build(spec, Rng("share", 0).of("weights")).eval().requires_grad_(False)
    release = Release(network, Schedule(steps=3), Rng("share", 0), spec.shape, CPU, batch=4)

    @contextmanager
    def kept(module, step, calls, device, work):
        asked.append((calls, work))
        yield

    monkeypatch.setattr(sampling, "maybe_compile", kept)
    monkeypatch.setattr(distributed, "all_gather", lambda mine, *_: mine)
    drawn = []
    for size, rank in ((1, 0), (2, 0), (2, 1)):
        monkeypatch.setattr(distributed._group, "world_size", size)
        monkeypatch.setattr(distributed._group, "rank", rank)
        drawn.append(sampling.draw(release, torch.arange(10), None))
    assert {calls for calls, _ in asked} == {3 * ceil(10 / 4)} and len(set(asked)) == 1
    assert [len(samples) for samples in drawn] == [10, 8, 2] and torch.equal(torch.cat(drawn[1:]), drawn[0])


def test_trainings_of_other_batches_or_shapes_are_other_work(monkeypatch):
    asked = []

    @contextmanager
    def kept(module, step, calls, device, work):
        asked.append(work)
        yield

    def loss(module, batch):
        return (module(batch.noise.flatten(1)) ** 2).mean()

    monkeypatch.setattr(loop, "maybe_compile", kept)
    for batch, shape in ((2, (4,)), (3, (4,)), (2, (2, 2)), (2, (4,))):
        options = {"stream": Rng("work", 0).of("train"), "count": 5, "noise_shape": shape}
        loop.train(nn.Linear(4, 1), loss, loop.Recipe(1, batch=batch), **options)
    assert len(set(asked)) == 3 and asked[0] == asked[3]


def test_on_the_cpu_nothing_is_tried():
    module = nn.Linear(2, 2)
    forward = module.forward
    with device.maybe_compile(module, lambda: pytest.fail("tried"), 10**9, CPU, "work"):
        assert module.forward == forward


def test_inside_the_forward_is_compiled_and_afterwards_it_is_not(monkeypatch, cache):
    """The wiring of a choice, with a compiler that runs anywhere and a device that says that it is a CUDA one."""
    module, x = nn.Linear(2, 2), torch.ones(1, 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "pretended")
    monkeypatch.setattr(compile, "compile_pays_off", lambda *_: True)
    monkeypatch.setattr(compile, "captured", lambda forward: torch.compile(forward, backend="eager"))
    wanted, plain = module(x), module.forward

    def faster(calls: int):
        return device.maybe_compile(module, lambda: [module(x)], calls, torch.device("cuda"), "work")

    with record_execution() as outer, record_execution() as inner:
        with faster(200):
            assert module.forward != plain and torch.equal(module(x), wanted)
        assert inner() == {"compiled": ["work"]} and outer() == {}  # whoever is nearest puts it on record
    assert module.forward == plain and torch.equal(module(x), wanted)
    monkeypatch.setattr(compile, "compile_pays_off", lambda *_: pytest.fail("asked again"))
    with pytest.raises(KeyError), faster(200):
        raise KeyError  # the choice is in the cache, and the forward comes back whatever happens
    assert module.forward == plain
    with faster(199):  # too few steps, whatever the cache says
        assert module.forward == plain
    monkeypatch.setattr(compile, "compile_pays_off", lambda *_: False)
    with faster(201):  # longer work is other work: an answer to shorter work does not bind it
        assert module.forward == plain


def test_manners_are_merged_to_the_smallest_batches_and_all_that_was_compiled():
    found = {"smaller_batches": {"a": 4, "b": 2}, "compiled": ["y"], "sample_seconds": 1.0}
    other = {"smaller_batches": {"a": 2, "b": 8}, "compiled": ["x", "y"]}
    assert merge_execution_notes(found, other, {}) == {"smaller_batches": {"a": 2, "b": 2}, "compiled": ["x", "y"]}
    assert merge_execution_notes({"loss": 1.0}, {}) == {} == merge_execution_notes()

"""torch.compile runs where a suite asks for it, for long work alone, and is on record; a failure gives way to eager."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from torch import nn

from leakbench.api import Release
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import fit_key, release_key
from leakbench.models import networks, sampling
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.models.training import loop
from leakbench.runtime import distributed
from leakbench.runtime.device import (
    AdaptiveBatch,
    Rng,
    compile,
    maybe_compile,
    merge_execution_notes,
    record_execution,
    request_compile,
)
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def eager(monkeypatch):
    """The wiring with a backend that compiles nothing."""
    monkeypatch.setattr(compile, "_BACKEND", "eager")


@pytest.fixture
def module():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(2, 2)


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_nothing_is_compiled_unless_it_was_requested(module, monkeypatch, device):
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("compiled"))
    plain = module.forward
    with record_execution() as notes:
        with maybe_compile(module, 10**9, device, "work"):
            assert module.forward == plain
        with request_compile(True), request_compile(False), maybe_compile(module, 10**9, device, "work"):
            assert module.forward == plain
        with request_compile(True), maybe_compile(module, 199, device, "work"):
            assert module.forward == plain
    assert notes() == {}


def test_inside_the_forward_is_compiled_and_afterwards_it_is_not(module, eager):
    x = torch.ones(1, 2)
    wanted, plain = module(x), module.forward
    with request_compile(True), record_execution() as outer, record_execution() as inner:
        with maybe_compile(module, 200, CPU, "work"):
            assert module.forward != plain and inner() == {}
            assert torch.equal(module(x), wanted)
            module(x)
        assert inner() == {"compiled": ["work"]} and outer() == {}  # the nearest one records it
        assert module.forward == plain and torch.equal(module(x), wanted)
        with pytest.raises(KeyError), maybe_compile(module, 200, CPU, "work"):
            raise KeyError
    assert module.forward == plain


def test_a_compiler_that_fails_gives_way_to_eager_in_one_line_and_is_not_on_record(module, monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("no compiler\nhere")

    monkeypatch.setattr(compile, "compile_forward", lambda forward, device: broken)
    x = torch.ones(1, 2)
    wanted = module(x)
    with request_compile(True), record_execution() as notes, maybe_compile(module, 200, CPU, "work"):
        assert torch.equal(module(x), wanted) and torch.equal(module(x), wanted)
    assert notes() == {}
    assert capsys.readouterr().err == "leakbench: torch.compile failed (RuntimeError); running without it\n"


def test_an_error_of_the_network_itself_is_raised(module, eager, capsys):
    with request_compile(True), maybe_compile(module, 200, CPU, "work"), pytest.raises(RuntimeError, match="shapes"):
        module(torch.ones(1, 3))


@pytest.mark.parametrize("wrapped", [False, True])
def test_memory_that_runs_out_halves_the_batch_and_the_work_stays_compiled(module, monkeypatch, capsys, wrapped):
    def compile_forward(forward, device):
        def hungry(value):
            if len(value) > 2:
                error = torch.cuda.OutOfMemoryError("simulated")
                if wrapped:  # as torch's compiler raises what a backend raised
                    raise RuntimeError("backend") from error
                raise error
            return forward(value)

        return hungry

    monkeypatch.setattr(compile, "compile_forward", compile_forward)
    x, room = torch.ones(8, 2), AdaptiveBatch("compiled", CPU, 8)
    with request_compile(True), record_execution() as notes, maybe_compile(module, 200, CPU, "work"):
        answer = room.run(lambda rows: module(x[:rows]))
    assert len(answer) == 2 and not capsys.readouterr().err
    assert notes() == {"smaller_batches": {"compiled": 2}, "compiled": ["work"]}


@pytest.mark.slow
def test_inductor_answers_as_eager_does_and_twice_alike():
    """The compiler itself, on the CPU; skipped where there is none."""
    spec = NetworkSpec(kind="mlp", shape=(1, 4, 4), width=8, blocks=1)
    x, t = torch.linspace(-1, 1, 64).reshape(4, 1, 4, 4), torch.arange(4)
    answers = []
    for _ in range(2):
        network = networks.build(spec, Rng("inductor", 0).of("weights")).eval().requires_grad_(False)
        wanted = network(x, t)
        with request_compile(True), record_execution() as notes, maybe_compile(network, 200, CPU, "work"):
            answers.append(network(x, t))
        if not notes():
            pytest.skip("torch.compile does not work on this machine's CPU")
    torch.testing.assert_close(answers[0], wanted, rtol=1e-5, atol=1e-6)
    assert torch.equal(*answers)


def test_the_choice_is_alike_however_many_processes_share_the_samples(monkeypatch):
    spec, asked = NetworkSpec(kind="mlp", shape=(1, 4, 4), width=8, blocks=1), []
    network = networks.build(spec, Rng("share", 0).of("weights")).eval().requires_grad_(False)
    release = Release(network, Schedule(steps=3), Rng("share", 0), spec.shape, CPU, batch=4)

    @contextmanager
    def kept(module, steps, device, work):
        asked.append((steps, work))
        yield

    monkeypatch.setattr(sampling, "maybe_compile", kept)
    monkeypatch.setattr(distributed, "all_gather", lambda mine, *_: mine)
    drawn = []
    for size, rank in ((1, 0), (2, 0), (2, 1)):
        monkeypatch.setattr(distributed._group, "world_size", size)
        monkeypatch.setattr(distributed._group, "rank", rank)
        drawn.append(sampling.draw(release, torch.arange(10), None))
    assert {steps for steps, _ in asked} == {3 * (10 // 4)} and len(set(asked)) == 1
    assert [len(samples) for samples in drawn] == [10, 8, 2] and torch.equal(torch.cat(drawn[1:]), drawn[0])


def test_trainings_of_other_batches_or_shapes_are_other_work_and_dropout_and_watches_stay_eager(monkeypatch):
    asked = []

    @contextmanager
    def kept(module, steps, device, work):
        asked.append((steps, work))
        yield

    def loss(module, batch):
        return (module(batch.noise.flatten(1)) ** 2).mean()

    monkeypatch.setattr(loop, "maybe_compile", kept)
    for batch, shape in ((2, (4,)), (3, (4,)), (2, (2, 2)), (2, (4,))):
        options = {"stream": Rng("work", 0).of("train"), "count": 5, "noise_shape": shape}
        loop.train(nn.Linear(4, 1), loss, loop.Recipe(1, batch=batch), **options)
    assert len(set(asked)) == 3 and asked[0] == asked[3] and {steps for steps, _ in asked} == {1}
    loop.train(nn.Sequential(nn.Linear(4, 1), nn.Dropout(0.5)), loss, loop.Recipe(1, batch=2), **options)
    loop.train(nn.Linear(4, 1), loss, loop.Recipe(1, batch=2), **options, watch=loop.Watch(1, lambda module: True))
    assert len(asked) == 4


def test_a_training_that_is_compiled_goes_where_the_plain_one_goes(eager):
    def trained(requested):
        module = nn.Linear(4, 1)
        with torch.no_grad():
            module.weight.fill_(0.5), module.bias.fill_(0.1)
        options = {"stream": Rng("work", 0).of("train"), "count": 5, "noise_shape": (4,)}
        with request_compile(requested), record_execution() as notes:
            loop.train(module, lambda m, batch: (m(batch.noise) ** 2).mean(), loop.Recipe(200, batch=2), **options)
        return module.weight, notes()

    (plain, nothing), (compiled, notes) = trained(False), trained(True)
    assert torch.equal(plain, compiled) and nothing == {}
    assert [name.split()[0] for name in notes["compiled"]] == ["training"]


def test_the_suites_option_is_part_of_the_keys_of_what_it_changes(tiny, tmp_path):
    def keys(*overrides):
        inputs = RunInputs(load(str(tiny), overrides), RunConfig(tmp_path / "run", tmp_path / "cache"))
        chain = inputs.suite.points[0].chain
        return fit_key(inputs, chain, 0), release_key(inputs, chain, 0)

    assert keys() == keys("compile=false")
    assert not set(keys()) & set(keys("compile=true"))
    with pytest.raises(UsageError, match=r"compile = 'maybe': it should be"):
        keys('compile="maybe"')


def test_notes_are_merged_to_the_smallest_batches_and_all_that_was_compiled():
    found = {"smaller_batches": {"a": 4, "b": 2}, "compiled": ["y"], "sample_seconds": 1.0}
    other = {"smaller_batches": {"a": 2, "b": 8}, "compiled": ["x", "y"]}
    assert merge_execution_notes(found, other, {}) == {"smaller_batches": {"a": 2, "b": 2}, "compiled": ["x", "y"]}
    assert merge_execution_notes({"loss": 1.0}, {}) == {} == merge_execution_notes()

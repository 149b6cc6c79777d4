"""Cells that travel: what a node is told, what it sends back, and what happens to a cell whose nodes are lost.

Ray is played by a few lines here; tests/leakbench/runner/test_ray.py asks the real one.
"""

from __future__ import annotations

import pickle
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.results.run_folder import RunFolder
from leakbench.runner.executors import ray as on_ray
from leakbench.runner.executors import ray_task
from leakbench.runner.executors.node_check import find_difference
from leakbench.runner.plan import Plan
from leakbench.runtime import registry
from leakbench.runtime.code_digest import code_digest
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

PLUGIN = """
from leakbench.api import Access, MembershipAttack
class Norm(MembershipAttack):
    name = "norm"
    summary = "the norm of the image"
    access = Access.DENOISER
    def score(self, view, images, labels):
        return -view.eps(images, 5).flatten(1).norm(dim=1)
"""


class Lost(Exception):
    """Ray's word for a node that is gone."""


class Ray:
    """Plays a cluster. `lives`: by the words of a cell, how many news each try sends before its node is lost."""

    exceptions = SimpleNamespace(RayError=Lost, RayTaskError=type("RayTaskError", (Lost,), {}))

    def __init__(self, lives):
        self.lives, self.asked = lives, []

    def remote(self, **needs):
        self.needs = needs
        return lambda do: SimpleNamespace(options=lambda name: SimpleNamespace(remote=lambda *a: self._task(do, *a)))

    def _task(self, do, start, cell):
        self.asked.append(pickle.loads(cell))
        news, lives = [*do(start, cell)], self.lives.get(self.asked[-1].description)
        if lives:
            news[lives.pop(0) :] = [Lost("the node was preempted")]
        yield from news

    def put(self, value):
        return value

    def wait(self, tasks, num_returns, timeout):
        return tasks[:1], tasks[1:]

    def get(self, news):
        if isinstance(news, Lost):
            raise news
        return news

    def cancel(self, ray_task, force):
        pass


@pytest.fixture
def cluster(monkeypatch):
    """cluster(lives): the Ray that the executor connects to."""

    def make(lives=None):
        ray = Ray(lives or {})

        @contextmanager
        def connected():
            yield ray

        monkeypatch.setattr(on_ray, "connected", connected)
        monkeypatch.setattr(on_ray, "resources", lambda: (1, 0))
        monkeypatch.setattr(ray_task, "_workers", {})
        return ray

    return make


@pytest.fixture
def run(leakbench, tmp_path, tiny, again):
    """run(*words): `leakbench run --executor ray` with everything trained already, and no record."""
    for path in (again.out / "records").iterdir():
        path.unlink()
    return lambda *words: leakbench("run", tiny, "--out", again.out, "--executor", "ray", *words)


def digests(folder):
    return {record.stem: record.digest for record in RunFolder(folder).records}


def test_the_records_are_those_of_a_local_run(cluster, run, again, finished):
    ray = cluster()
    outcome = run()
    assert (outcome.code, outcome.err) == (0, "")
    assert digests(again.out) == digests(finished.out)
    assert (again.out / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()
    assert ray.needs == {"num_cpus": 1, "num_returns": "streaming", "max_retries": 0}
    assert not [path for path in again.cache.iterdir() if path.name.startswith(".run-")]


def test_a_lost_cell_is_handed_out_again_without_the_records_that_had_arrived(cluster, run, again, finished):
    ray = cluster({"baseline, seed 0": [2]})  # two records and no more
    outcome = run()
    assert outcome.code == 0
    (line,) = outcome.err.splitlines()
    assert line == "leakbench: baseline, seed 0: its node was lost (Lost); doing it again on another"
    first, second = [cell for cell in ray.asked if cell.kind == "audit" and cell.name == "audit baseline seed 0"]
    assert len(first.records) == 6
    assert set(second.records) < set(first.records) and len(second.records) == 4
    assert digests(again.out) == digests(finished.out)
    assert (again.out / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()


def test_a_cell_that_loses_every_node_fails_and_no_other(cluster, run, again):
    cluster({"baseline, seed 0": [0] * 5})
    outcome = run()
    assert outcome.code == 1
    assert "failed: baseline, seed 0: NodeLost: its node was lost 5 times, at last: the node was preempted" in (
        outcome.err
    )
    assert {record.defense for record in RunFolder(again.out).records} == {"cpsample"}


def test_a_plugin_travels_with_its_source_and_its_error_is_that_of_a_local_run(cluster, run, tiny, tmp_path):
    tiny.write_text(tiny.read_text().replace('name = "loss"', 'name = "norm"'))
    (tmp_path / "p.py").write_text(PLUGIN.replace("return -", "raise ZeroDivisionError('broken')\n        return -"))
    ray = cluster()
    outcome = run("--out", tmp_path / "other", "--plugin", tmp_path / "p.py")
    assert outcome.code == 1
    assert outcome.err.count("'norm': ZeroDivisionError: broken") == 3
    assert "Traceback" not in outcome.err
    assert {record.attack for record in RunFolder(tmp_path / "other").records} == {"quality", "nearest_copy", "pia"}
    assert {cell.kind for cell in ray.asked} == {"reader", "audit"}


def test_a_copy_of_a_plugin_loads_under_the_name_of_its_original(tmp_path):
    original, copy = tmp_path / "p.py", tmp_path / "elsewhere.py"
    original.write_text(PLUGIN)
    registry.load_file(original)
    attack = registry.find("attacks", "norm")
    pickled, digest = pickle.dumps(attack()), code_digest(attack)
    copy.write_bytes(original.read_bytes())
    original.unlink()
    registry.load_file(copy, registry.name_plugin_module(original))
    assert type(pickle.loads(pickled)) is registry.find("attacks", "norm")
    assert code_digest(registry.find("attacks", "norm")) == digest


@pytest.fixture
def start(tiny, tmp_path, cache, monkeypatch):
    """What nodes are told of a run of the tiny suite, and its first cell."""
    monkeypatch.setattr(ray_task, "_workers", {})
    (cache).mkdir()
    plan = Plan(ReleaseBuilder(RunInputs(load(str(tiny)), RunConfig(tmp_path / "run", cache))))
    (cache / "marker").touch()
    told = on_ray.RayExecutor(plan, lambda name, share: None)._build_setup(cache / "marker")
    return told, pickle.dumps(plan.cells[0])


def error_of(start, cell):
    (last,) = ray_task.do_cell(start, cell)
    assert isinstance(last, ray_task.TaskFinished)
    return last.error


def test_a_node_without_the_cache_folder_says_what_is_to_be_done(start, cache):
    (cache / "marker").unlink()
    error = error_of(*start)
    assert isinstance(error, ray_task.IncompatibleNode)
    assert f"does not see the cache folder {cache} of this run: let LEAKBENCH_CACHE name a folder that all" in str(
        error
    )


@pytest.mark.parametrize("name", ["packages", "data", "libraries", "code of leakbench or of a plugin", "weights"])
def test_a_node_that_would_compute_something_else_is_named(start, name):
    told, cell = start
    error = error_of(replace(told, fingerprint=told.fingerprint | {name: "another"}), cell)
    assert isinstance(error, ray_task.IncompatibleNode)
    assert f"has other {name} than the machine of the command" in str(error)


def test_the_first_difference_is_the_one_that_is_named():
    here, there = {"packages": "a", "data": "b"}, {"packages": "A", "data": "B"}
    assert "other packages" in find_difference(here, there) and "data" not in find_difference(here, there)
    assert find_difference(here, here) == ""


def test_an_unfit_node_ends_the_run_in_one_line(cluster, run, monkeypatch):
    cluster()
    monkeypatch.setattr(
        ray_task, "compute_fingerprint", lambda builder: dict.fromkeys(on_ray.compute_fingerprint(builder), "other")
    )
    outcome = run()
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "has other packages than the machine of the command" in outcome.err


def test_on_cuda_each_cell_has_a_gpu_to_itself(cluster, start, tiny, tmp_path, cache, monkeypatch):
    ray, builder = cluster(), ReleaseBuilder(RunInputs(load(str(tiny)), RunConfig(tmp_path / "run", cache)))
    plan = Plan(builder)
    plan.embedding.check()
    assert [cell.kind for cell in plan.cells][:2] == ["reader", "fit"]
    builder.inputs.device = torch.device("cuda")  # which this machine, where the command is typed, need not have
    monkeypatch.setattr(on_ray, "do_cell", lambda start, cell: iter([ray_task.TaskFinished(None)]))
    executor = on_ray.RayExecutor(plan, lambda name, share: None)
    executor.run()
    assert ray.needs == {"num_gpus": 1, "num_returns": "streaming", "max_retries": 0}
    assert len(ray.asked) == len(plan.cells) and not executor.failures


def test_times_are_not_measured_for_a_device_that_is_not_here(cluster, leakbench, tiny, tmp_path, monkeypatch):
    cluster()
    monkeypatch.setattr(on_ray, "resources", lambda: (2, 1))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    outcome = leakbench("run", tiny, "--out", tmp_path / "run", "--executor", "ray", "--plan")
    assert outcome.code == 2
    assert outcome.err == (
        "leakbench: no CUDA device here to measure on: use --plan and --budget on a machine that has one\n"
    )
    assert "audit" in outcome.out


def test_workers_are_not_for_ray(leakbench, tiny, tmp_path):
    outcome = leakbench("run", tiny, "--out", tmp_path / "run", "--executor", "ray", "--workers", 2)
    assert outcome.code == 2
    assert "--workers 2: is for --executor local" in outcome.err


def test_ray_client_and_a_closed_door_are_one_line_each():
    with pytest.raises(on_ray.UsageError, match="Ray Client cannot carry a run"):
        on_ray._check_address("ray://head:10001")
    with pytest.raises(on_ray.UsageError, match=r"no Ray cluster answers there .*ray start --head"):
        on_ray._check_address("127.0.0.1:1")

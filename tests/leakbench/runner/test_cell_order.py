"""The order of cells: nothing starts before what it depends on, joined shadow trainings included."""

from __future__ import annotations

import multiprocessing
import time
from random import Random

import numpy as np
import pytest
import torch

from leakbench.api import Access, Artefacts, AuxiliaryModel, Defense, MembershipAttack, Task
from leakbench.measurement import keys
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import fit_key
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.models import networks
from leakbench.runner import plan
from leakbench.runner.cell import Cell
from leakbench.runner.cell_queue import CellQueue, order_cells
from leakbench.runner.executors.base import Executor
from leakbench.runner.executors.local import LocalExecutor
from leakbench.runner.plan import Plan
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.file import SuiteFile
from leakbench.suite.release_spec import ChainLink, ReleaseSpec
from leakbench.suite.suite import Suite


class Fresh(Defense):
    """Trains nothing."""

    name = "fresh"

    def fit(self, task: Task) -> Artefacts:
        return Artefacts({"denoiser": networks.build(task.network, task.streams.of("weights"))})


class Onward(Fresh):
    """Goes on from its base."""

    name = "onward"
    needs_base = True


class Shadowed(MembershipAttack):
    """Needs five shadow models."""

    name = "shadowed"
    access = Access.DENOISER

    def auxiliary_models(self) -> tuple[AuxiliaryModel, ...]:
        return tuple(AuxiliaryModel(f"shadow {n}", n) for n in range(5))


@pytest.fixture
def builder(tmp_path):
    """A chain of three trainings at two seeds, attacked with shadow models, on what is taken for a CUDA device."""
    pixels = np.random.default_rng(0).integers(0, 256, (140, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "tiny.npz", images=pixels)
    split = {"members": 30, "nonmembers": 30, "calibration_in": 20, "calibration_out": 20}
    file = SuiteFile.model_validate(
        {"name": "tiny", "dataset": f"npz:{tmp_path / 'tiny.npz'}", "defense": [{"name": "fresh"}], "split": split}
        | {"seeds": [0, 1]}
    )
    chain = (ChainLink("fresh", Fresh()), ChainLink("onward", Onward()), ChainLink("further", Onward()))
    suite = Suite(file, (ReleaseSpec("further", chain, "defense"),), {"shadowed": Shadowed()})
    made = ReleaseBuilder(RunInputs(suite, RunConfig(tmp_path / "out", tmp_path / "cache")))
    made.inputs.device = torch.device("cuda")
    return made


class Devices(Executor):
    """Plays several devices: starts whatever is ready, and finishes the last that it started first."""

    def __init__(self, plan, count):
        super().__init__(plan, lambda name, share: None)
        self.count, self.events = count, []

    def _run(self):
        running = []
        while self.has_cells_left:
            for cell in self.ready_cells():
                running.append(cell)
                self.events.append(("start", cell))
                if len(running) == self.count:
                    break
            self.events.append(("end", running[-1]))
            self.mark_done(running.pop())


@pytest.mark.parametrize("most", [16, 2])
@pytest.mark.parametrize("count", [1, 2, 50])
def test_every_training_starts_behind_its_bases(builder, monkeypatch, most, count):
    monkeypatch.setattr(plan, "_TOGETHER", most)
    executor = Devices(Plan(builder), count)
    executor.run()
    trained = set()
    for what, cell in executor.events:
        if cell.kind == "fit":
            keys = {fit_key(builder.inputs, cell.chain, cell.seed, model) for model in cell.models}
            if what == "end":
                trained |= keys
            elif len(cell.chain) > 1:
                assert {fit_key(builder.inputs, cell.chain[:-1], cell.seed, model) for model in cell.models} <= trained
        elif cell.kind == "audit" and what == "start":
            models = (None, *Shadowed().auxiliary_models())
            assert {fit_key(builder.inputs, cell.chain, cell.seed, model) for model in models} <= trained
    assert len(trained) == 2 * 3 * 6


def test_what_is_trained_already_is_no_dependency(builder):
    """The base of one shadow model is in the cache: the others' bases are still waited for."""
    first = Shadowed().auxiliary_models()[0]
    chain = builder.inputs.suite.points[0].chain
    builder.trainings.write(fit_key(builder.inputs, chain[:1], 0, first), lambda folder: (folder / "x").write_text("x"))
    cells = Plan(builder).cells
    by_name = {cell.name: cell for cell in cells}
    second = next(cell for cell in cells if first in cell.models and len(cell.chain) == 2 and cell.seed == 0)
    (base,) = (by_name[name] for name in second.depends_on)
    assert {model.draw for model in base.models} == {1, 2, 3, 4}
    assert cells.index(base) < cells.index(second)


def test_cells_come_in_the_plans_order_as_soon_as_their_dependencies_are_done():
    """Against a search of all cells at every step."""
    for seed in range(50):
        draw = Random(seed)
        names = [f"cell {n}" for n in range(draw.randrange(1, 12))]
        rank = {name: draw.random() for name in names}
        cells = [
            Cell(name, "fit", name, tuple(other for other in names if rank[other] < rank[name] and draw.random() < 0.3))
            for name in names
        ]
        queue, done, running, order = CellQueue(cells), set(), [], []
        while queue.has_cells_left:
            while cell := queue.pop():
                waiting = [c for c in cells if c not in order and done.issuperset(c.depends_on)]
                assert cell == waiting[0]
                order.append(cell)
                running.append(cell)
            finished = running.pop(draw.randrange(len(running)))
            done.add(finished.name)
            queue.mark_done(finished)
        assert sorted(order, key=cells.index) == cells
        ordered = [cell.name for cell in order_cells(cells)]
        assert all(set(cell.depends_on) <= set(ordered[: ordered.index(cell.name)]) for cell in cells)


def test_a_dependency_that_nobody_makes_and_a_circle_are_errors():
    with pytest.raises(ValueError, match="audit: depends on 'gone', which is neither a cell nor finished"):
        CellQueue([Cell("a", "audit", "audit", ("gone",))])
    with pytest.raises(ValueError, match=r"in a circle: (one -> two -> one|two -> one -> two)"):
        CellQueue([Cell("1", "fit", "one", ("2",)), Cell("2", "fit", "two", ("1",))])


def test_ctrl_c_ends_the_pools_processes_and_no_others(builder, monkeypatch):
    """A notebook may have children of its own."""
    builder.inputs.device = torch.device("cpu")
    own = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    own.start()

    def interrupted(self, pool, shares):
        pool.submit(time.sleep, 60)
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalExecutor, "_feed", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            LocalExecutor(Plan(builder), 2, lambda name, share: None).run()
        own.join(0.5)
        assert multiprocessing.active_children() == [own]
    finally:
        own.kill()
        own.join()


def test_the_parts_of_a_training_are_put_together_once(builder, monkeypatch):
    """Every audit asks for the keys of its whole chain: a plan of ten thousand cells spent its minutes on them."""
    asked = []
    made = keys.fit_parts
    monkeypatch.setattr(keys, "fit_parts", lambda *of: asked.append(of[1:]) or made(*of))
    assert Plan(builder).cells
    assert len(asked) == len(set(asked)) == 2 * 3 * 6

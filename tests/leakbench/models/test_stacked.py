"""Networks trained together are the networks that each task makes alone; a killed run of them goes on.

And shadow models become cells that train together on a CUDA device, and one cell each on the CPU.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from leakbench.api import Access, Artefacts, AuxiliaryModel, Defense, MembershipAttack, Task
from leakbench.defenses.baseline import Baseline
from leakbench.defenses.dedup import Dedup
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.models import networks
from leakbench.models.denoiser_training import train_denoiser, train_denoisers
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.models.training import gradients, loop
from leakbench.models.training.gradients import Batch
from leakbench.models.training.loop import Recipe, train
from leakbench.models.training.stacked import StackedModule, train_together
from leakbench.runner import plan
from leakbench.runner.cell import Cell
from leakbench.runner.executors.worker import Worker
from leakbench.runner.plan import Plan
from leakbench.runtime.device import Rng, prepare
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.file import SuiteFile
from leakbench.suite.release_spec import ChainLink, ReleaseSpec
from leakbench.suite.suite import Suite

MLP = NetworkSpec(kind="mlp", shape=(1, 8, 8), width=24, blocks=2)
LABELLED = MLP.model_copy(update={"conditions": 3})
UNET = NetworkSpec(kind="unet", shape=(1, 10, 10), width=8, blocks=1, conditions=3)  # with attention; padded
SIZES = (40, 7, 93)
STEPS = 25


class Killed(Exception):
    pass


def task(number: int, spec: NetworkSpec = MLP, size: int | None = None, **changes) -> Task:
    streams, n = Rng(f"shadow/{number}", 0), size or SIZES[number]
    images = streams.of("images").normal(torch.arange(n), spec.shape).clamp(-1, 1)
    labels = streams.of("labels").integers(torch.arange(n), 3) if spec.conditions else None
    condition = "label" if spec.conditions else "none"
    rest = (None, condition, torch.arange(n), images, spec, Schedule(), streams, torch.device("cpu"))
    return dataclasses.replace(Task(images, labels, *rest), **changes)


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([p.flatten() for p in network.parameters()])


def answers(network: nn.Module, spec: NetworkSpec) -> torch.Tensor:
    """Of a few images at timesteps from 0 to the last."""
    ids = torch.arange(12)
    x, t = Rng("probe", 0).of("x").normal(ids, spec.shape), (ids * 999) // 11
    with torch.no_grad():
        return network(x, t, ids % 3 if spec.conditions else None)


def off(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def denoisers(made: list[Artefacts]) -> list[nn.Module]:
    return [artefacts.networks["denoiser"] for artefacts in made]


@pytest.mark.parametrize(
    ("spec", "recipe"),
    [
        (MLP, Recipe(STEPS, batch=16)),
        (LABELLED, Recipe(STEPS, batch=16, clip=0.05, ema=0.5)),  # every step is clipped, by norms that differ
        (MLP, Recipe(STEPS, batch=16, clip=float("inf"), ema=0.0)),
        (UNET, Recipe(8, batch=4)),
    ],
)
def test_networks_trained_together_are_those_trained_alone(spec, recipe):
    tasks = [task(number, spec) for number in range(3)]
    for each, made in zip(tasks, train_denoisers(tasks, recipe, "any"), strict=True):
        alone, network = train_denoiser(each, recipe, "any"), made.networks["denoiser"]
        truth = answers(alone.networks["denoiser"], spec)
        fresh = networks.build(spec, each.streams.of("weights", "any"))
        assert off(answers(fresh, spec), truth) > 0.05 and off(answers(network, spec), truth) < 1e-3
        assert made.info["network_evaluations"] == alone.info["network_evaluations"] == recipe.evaluations
        assert not network.training and not any(p.requires_grad for p in network.parameters())


def test_in_half_precision_they_are_so_to_its_rounding(monkeypatch):
    """As on a CUDA device: forward calls under autocast, weights and Adam in float32."""
    monkeypatch.setattr(gradients, "autocast", lambda device: torch.autocast("cpu", dtype=torch.bfloat16))
    tasks = [task(number) for number in range(3)]
    for each, network in zip(tasks, denoisers(train_denoisers(tasks, Recipe(STEPS, batch=16), "any")), strict=True):
        alone = train_denoiser(each, Recipe(STEPS, batch=16), "any").networks["denoiser"]
        assert 0 < off(answers(network, MLP), answers(alone, MLP)) < 0.01


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:.*deterministic")
@pytest.mark.parametrize("spec", [MLP, UNET])
def test_on_cuda_they_are_so_to_its_rounding(spec):
    cuda = torch.device("cuda")
    prepare(cuda)
    tasks = [task(number, spec, device=cuda) for number in range(3)]
    defense = Baseline(steps=STEPS, batch=16, lr=1e-3)
    for each, network in zip(tasks, denoisers(list(defense.fit_together(tasks))), strict=True):
        alone = defense.fit(each).networks["denoiser"]
        assert off(answers(network.cpu(), spec), answers(alone.cpu(), spec)) < 0.03


def test_who_else_is_in_the_pass_does_not_matter():
    recipe = Recipe(STEPS, batch=16)
    (one, _), (_, _, other) = (
        denoisers(train_denoisers([task(n) for n in numbers], recipe, "any")) for numbers in ((1, 0), (0, 2, 1))
    )
    assert off(weights(one), weights(other)) < 1e-5


def linear() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Linear(4, 4)


TRUTHS = Rng("test", 0).of("truths").normal(torch.arange(30), (4,))
LINEAR = {"timesteps": 10, "noise_shape": (4,)}


def error(module: nn.Module, batch: Batch, dim: tuple[int, ...] | None = None) -> torch.Tensor:
    return (module(TRUTHS[batch.index] + batch.noise) - TRUTHS[batch.index]).square().mean(dim=dim)


def test_a_batch_that_does_not_fit_is_trained_on_in_pieces():
    def losses(module: nn.Module, batch: Batch) -> torch.Tensor:
        sizes.append(len(batch.index))
        if len(batch.index) > 5:
            raise torch.cuda.OutOfMemoryError("simulated")
        return error(module, batch, dim=(0, 2))

    sizes: list[int] = []
    streams, counts, recipe = [Rng("test", n).of("train") for n in range(2)], (30, 11), Recipe(30, batch=16)
    pieces = [linear(), linear()]
    train_together(pieces, losses, recipe, streams=streams, counts=counts, **LINEAR)
    assert sizes[:6] == [16, 8, 4, 4, 4, 4]
    for network, stream, count in zip(pieces, streams, counts, strict=True):
        alone = train(linear(), error, recipe, stream=stream, count=count, **LINEAR)
        assert off(weights(network), weights(alone)) < 1e-5


def test_networks_with_dropout_are_refused():
    with pytest.raises(ValueError, match="dropout"):
        StackedModule([networks.build(MLP.model_copy(update={"dropout": 0.1}), Rng("x", k).of("w")) for k in range(2)])


@pytest.fixture
def often(monkeypatch) -> None:
    monkeypatch.setattr(loop, "_CHECKPOINT_EVERY", 8)
    monkeypatch.setattr(loop, "_CHUNK", 8)


def kill_at(share: float):
    def progress(done: float) -> None:
        if done >= share:
            raise Killed

    return progress


def test_a_killed_run_resumes_bit_for_bit(often, tmp_path):
    recipe = Recipe(44, batch=8)
    whole = denoisers(train_denoisers([task(n) for n in range(3)], recipe, "any"))
    told: list[float] = []
    tasks = [task(n, folder=tmp_path / str(n)) for n in range(3)]
    with pytest.raises(Killed):
        train_denoisers([*tasks[:2], dataclasses.replace(tasks[2], progress=kill_at(0.9))], recipe, "any")
    assert len([*tmp_path.glob("*/*")]) == 1  # one file for all
    resumed = [dataclasses.replace(tasks[0], progress=told.append), *tasks[1:]]
    assert all(
        torch.equal(weights(one), weights(other))
        for one, other in zip(denoisers(train_denoisers(resumed, recipe, "any")), whole, strict=True)
    )
    assert min(told) > 0.6 and told[-1] == 1.0  # it did not start again
    assert not [*tmp_path.glob("*/*")]


def test_others_do_not_resume_from_their_checkpoint(often, tmp_path):
    recipe, told = Recipe(44, batch=8), []
    tasks = [task(n, folder=tmp_path) for n in range(3)]
    with pytest.raises(Killed):
        train_denoisers([tasks[0], dataclasses.replace(tasks[1], progress=kill_at(0.9))], recipe, "any")
    train_denoisers([dataclasses.replace(tasks[0], progress=told.append), tasks[2]], recipe, "any")
    assert told[0] < 0.5


def test_the_baseline_trains_together_on_cuda_alone_and_what_trains_otherwise_never_does(monkeypatch):
    asked: list[int] = []
    monkeypatch.setattr("leakbench.defenses.baseline.train_denoisers", lambda tasks, *_: asked.append(len(tasks)) or [])
    on_cpu = [task(n) for n in range(2)]
    on_cuda = [dataclasses.replace(each, device=torch.device("cuda")) for each in on_cpu]
    for defense, tasks, together in (
        (Baseline(steps=1), on_cuda, [2]),
        (Baseline(steps=1), on_cuda[:1], []),
        (Baseline(steps=1), on_cpu, []),
        (Dedup(steps=1), on_cuda, []),
    ):
        defense.fit_together(tasks)  # what is done one after the other waits until it is asked for
        assert asked == together
        asked.clear()
    made = list(Baseline(steps=2, batch=4).fit_together(on_cpu))
    assert [info["network_evaluations"] for info in (artefacts.info for artefacts in made)] == [24, 24]


# Cells ----------------------------------------------------------------------------------------------------------------


class Shadowed(MembershipAttack):
    """Needs five shadow models and a canary release."""

    name = "shadowed"
    access = Access.DENOISER

    def auxiliary_models(self) -> tuple[AuxiliaryModel, ...]:
        return (*(AuxiliaryModel(f"shadow {n}", n) for n in range(5)), AuxiliaryModel("canary", kind="canary"))


class Fewer(Shadowed):
    """Needs one of them."""

    name = "fewer"

    def auxiliary_models(self) -> tuple[AuxiliaryModel, ...]:
        return (AuxiliaryModel("shadow 3", 3),)


class Fresh(Defense):
    """Trains nothing, and stops at the release of `stop` as a killed run does."""

    name = "fresh"
    stop: int = -1

    def fit(self, task: Task) -> Artefacts:
        if task.streams.dataset.endswith(f"/{self.stop}/0.5"):
            raise Killed
        task.progress(1.0)
        return Artefacts({"denoiser": networks.build(task.network, task.streams.of("weights"))})


@pytest.fixture
def builder(tmp_path):
    """builder(stop): two seeds of one point, on a workbench that believes it has a CUDA device."""
    pixels = np.random.default_rng(0).integers(0, 256, (140, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "tiny.npz", images=pixels)

    def of(stop: int = -1, device: str = "cuda") -> ReleaseBuilder:
        split = {"members": 30, "nonmembers": 30, "calibration_in": 20, "calibration_out": 20}
        file = SuiteFile.model_validate(
            {"name": "tiny", "dataset": f"npz:{tmp_path / 'tiny.npz'}", "defense": [{"name": "fresh"}], "split": split}
            | {"seeds": [0, 1]}
        )
        points = (ReleaseSpec("fresh", (ChainLink("fresh", Fresh(stop=stop)),), "defense"),)
        suite = Suite(file, points, {"shadowed": Shadowed(), "fewer": Fewer()})
        builder = ReleaseBuilder(RunInputs(suite, RunConfig(tmp_path / "out", tmp_path / "cache")))
        builder.inputs.device = torch.device(device)
        return builder

    return of


def needed(cells: list[Cell]) -> list[tuple[int, list[str]]]:
    return [(cell.seed, [need.name if need else "" for need in cell.models]) for cell in cells if cell.kind == "fit"]


def test_shadow_models_of_a_seed_are_one_cell_on_cuda_and_others_wait_for_it(builder, monkeypatch):
    five = [f"shadow {n}" for n in range(5)]
    cells = Plan(builder()).cells
    assert needed(cells) == [(seed, names) for seed in (0, 1) for names in ([""], five, ["canary"])]
    names = [cell.name for cell in cells]
    assert len(set(names)) == len(names)
    for audit in [cell for cell in cells if cell.kind == "audit"]:
        fits = {cell.name for cell in cells if cell.kind == "fit" and cell.seed == audit.seed}
        assert len(fits) == 3 and set(audit.depends_on) == {"reader", *fits}
    monkeypatch.setattr(plan, "_TOGETHER", 3)
    assert needed(Plan(builder()).cells)[:4] == [(0, [""]), (0, five[:3]), (0, five[3:]), (0, ["canary"])]


def test_on_the_cpu_every_shadow_model_is_a_cell(builder):
    cells = needed(Plan(builder(device="cpu")).cells)
    assert len(cells) == 14 and all(len(names) == 1 for _, names in cells)


def test_what_a_joint_cell_finished_is_kept(builder):
    """The third of five fails: two are in the cache, and the next plan trains the other three, telling its progress."""
    killed, told = builder(stop=2), []
    cell = next(cell for cell in Plan(killed).cells if len(cell.models) == 5)
    with pytest.raises(Killed):
        Worker(killed).do(cell, told.append)
    assert told == pytest.approx([0.2, 0.4])
    left = next(cell for cell in Plan(killed).cells if len(cell.models) > 1)
    assert [need.name for need in left.models] == ["shadow 2", "shadow 3", "shadow 4"] and left.name != cell.name

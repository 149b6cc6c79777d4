"""Keys: what trains again, what only samples again, and what does neither."""

from __future__ import annotations

import json
import shutil
import threading
import time

import numpy as np
import pytest
import torch

from leakbench.api import Artefacts, AuxiliaryModel
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import fit_key, release_key
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.models import networks
from leakbench.models.artefact_io import load_artefacts, save_artefacts
from leakbench.models.networks import NetworkSpec
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.device import Rng
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load


@pytest.fixture
def keys(tiny, tmp_path):
    """keys(*overrides): fit key and release key of the last cpsample point of the tiny suite."""

    def of(*overrides, seed=0, device="cpu"):
        builder = ReleaseBuilder(
            RunInputs(load(str(tiny), overrides), RunConfig(tmp_path / "run", tmp_path / "cache", device))
        )
        point = [point for point in builder.inputs.suite.points if point.id == "cpsample"][-1]
        return fit_key(builder.inputs, point.chain, seed), release_key(builder.inputs, point.chain, seed)

    return of


SAMPLING = [
    "defense.cpsample.alpha=0.3",
    "defense.cpsample.scale=1.0",
    'defense.cpsample.direction="random"',
    "sampler.steps=7",
    "sampler.batch=32",
]
TRAINING = [
    "defense.cpsample.steps=41",
    "defense.cpsample.width=48",
    "defense.cpsample.flip=true",
    "defense.baseline.steps=61",
    "defense.baseline.lr=0.003",
    "split.seed=1",
    "split.members=41",
    "network.width=40",
    "network.blocks=2",
    'network.condition="label"',
    'network.condition="attribute"',
]
NEITHER = [
    "attack.pia.t=7",
    "quality.samples=70",
    'summary="other words"',
    "seeds=[5, 6]",
    'name="other"',
    "defense.cpsample.alpha=0.5",
]


@pytest.mark.parametrize("change", SAMPLING)
def test_sampling_parameters_train_nothing_but_make_another_release(keys, change):
    (fit, release), (changed_fit, changed_release) = keys(), keys(change)
    assert changed_fit == fit
    assert changed_release != release


@pytest.mark.parametrize("change", TRAINING)
def test_training_parameters_train_again(keys, change):
    assert not set(keys(change)) & set(keys())


@pytest.mark.parametrize("change", NEITHER)
def test_what_only_measures_changes_no_key(keys, change):
    assert keys(change) == keys()


def test_every_seed_trains_its_own(keys):
    assert not set(keys(seed=1)) & set(keys(seed=0))


def test_points_of_a_sweep_share_their_training_and_not_their_release(tiny, tmp_path):
    builder = ReleaseBuilder(RunInputs(load(str(tiny)), RunConfig(tmp_path / "run", tmp_path / "cache")))
    weak, strong = (point for point in builder.inputs.suite.points if point.id == "cpsample")
    assert fit_key(builder.inputs, weak.chain, 0) == fit_key(builder.inputs, strong.chain, 0)
    assert release_key(builder.inputs, weak.chain, 0) != release_key(builder.inputs, strong.chain, 0)


def test_other_images_and_another_name_of_the_data_train_again(keys, tmp_path):
    # Random streams follow the name: the same images under another name are drawn in another order.
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
    found = []
    for name, first in (("a", 0), ("b", 0), ("c", 1)):
        images[0, 0, 0] = first
        np.savez(tmp_path / f"{name}.npz", images=images)
        found.append(keys(f"dataset=npz:{tmp_path / name}.npz"))
    assert len({key for pair in found for key in pair}) == 6


def test_a_plugins_source_is_part_of_its_key(tiny, tmp_path):
    from leakbench.runtime import registry

    source = """
from leakbench.defenses.baseline import Baseline
class Mine(Baseline):
    name = "mine"
"""
    tiny.write_text(tiny.read_text().replace('name = "baseline"\n', 'id = "baseline"\nname = "mine"\n'))
    found = []
    for text in (source, source + "# another line\n", source + "    batch: int = 7\n"):
        (tmp_path / "mine.py").write_text(text)
        registry.load_file(tmp_path / "mine.py")
        builder = ReleaseBuilder(RunInputs(load(str(tiny)), RunConfig(tmp_path / "run", tmp_path / "cache")))
        found.append(fit_key(builder.inputs, builder.inputs.suite.points[0].chain, 0))
    assert found[0] == found[1] != found[2]  # a comment is none of it


def test_artefacts_survive_the_disk_bit_for_bit(tmp_path):
    streams = Rng("test", 0)
    spec = NetworkSpec(kind="mlp", shape=(1, 8, 8), width=16, blocks=1, conditions=3)
    made = Artefacts(
        {"denoiser": networks.build(spec, streams.of("weights"))},
        {"members": torch.randn(5, 1, 8, 8), "numbers": torch.arange(4)},
        {"train_seconds": 1.25, "accuracy": {"t": [0.0, 1.0]}},
    )
    save_artefacts(made, tmp_path)
    back = load_artefacts(tmp_path, torch.device("cpu"))
    assert back.info == made.info == json.loads((tmp_path / "info.json").read_text())
    assert all(torch.equal(back.tensors[name], tensor) for name, tensor in made.tensors.items())
    ours, theirs = made.networks["denoiser"].state_dict(), back.networks["denoiser"].state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert back.networks["denoiser"].spec == spec
    assert not any(p.requires_grad for p in back.networks["denoiser"].parameters())


def test_a_needed_release_trains_on_its_share_of_all_but_the_reference_images(tiny, tmp_path):
    from leakbench.api import AuxiliaryModel

    builder = ReleaseBuilder(RunInputs(load(str(tiny)), RunConfig(tmp_path / "run", tmp_path / "cache")))
    first, second = (builder.inputs.training_rows(AuxiliaryModel("shadow", draw), 0) for draw in (0, 1))
    assert len(first) == len(second) == 60  # half of 40 + 40 + 20 + 20
    assert set(first) != set(second)
    assert not set(first) & set(builder.inputs.split.parts["reference"])
    chain = builder.inputs.suite.points[0].chain
    assert (
        len(
            {
                fit_key(builder.inputs, chain, 0, need)
                for need in (None, AuxiliaryModel("s", 0), AuxiliaryModel("s", 1), AuxiliaryModel("s", 1, 0.7))
            }
        )
        == 4
    )


def test_a_forgotten_stage_mark_costs_time_and_no_truth(tiny, tmp_path):
    """A parameter without a mark counts as training-stage: two values are two fits."""
    from leakbench.runtime import registry

    (tmp_path / "forgetful.py").write_text("""
from leakbench.defenses.baseline import Baseline
class Forgetful(Baseline):
    name = "forgetful"
    rounds: int = 1
""")
    registry.load_file(tmp_path / "forgetful.py")
    tiny.write_text(tiny.read_text().replace('name = "baseline"\n', 'id = "baseline"\nname = "forgetful"\n'))
    found = set()
    for rounds in (1, 2):
        suite = load(str(tiny), (f"defense.baseline.rounds={rounds}",))
        builder = ReleaseBuilder(RunInputs(suite, RunConfig(tmp_path / "run", tmp_path / "cache")))
        found.add(fit_key(builder.inputs, suite.points[0].chain, 0))
    assert len(found) == 2


def test_shadow_models_share_no_randomness(tiny, tmp_path):
    """Neither the start weights nor the noise of training: else a shadow's score would tell of the target's noise."""
    builder = ReleaseBuilder(RunInputs(load(str(tiny)), RunConfig(tmp_path / "run", tmp_path / "cache")))
    needs = (None, AuxiliaryModel("a", draw=0), AuxiliaryModel("b", draw=1), AuxiliaryModel("c", draw=0, share=0.25))
    keys = {builder.inputs.streams(0, need).of(purpose).key for need in needs for purpose in ("weights", "train")}
    assert len(keys) == 2 * len(needs)
    task = builder.task(builder.inputs.suite.points[0].chain[:1], 0, needs[1])
    assert task.streams == builder.inputs.streams(0, needs[1]) != builder.inputs.streams(0)


def test_a_training_that_another_run_does_now_is_waited_for_and_not_done_twice(tiny, tmp_path, finished, monkeypatch):
    config = RunConfig(tmp_path / "run", tmp_path / "cache")
    builder = ReleaseBuilder(RunInputs(load(str(tiny)), config))
    chain = builder.inputs.suite.points[0].chain
    key = fit_key(builder.inputs, chain, 0)
    made, held = finished.cache / "fits" / key, threading.Event()
    assert made.is_dir()

    def other_run():
        fits = ArtefactCache.of_run(config, "fits")
        with fits.one_writer([key]):
            held.set()
            time.sleep(0.5)  # its training
            fits.write(key, lambda folder: shutil.copytree(made, folder, dirs_exist_ok=True))

    monkeypatch.setattr(
        type(chain[-1].defense), "fit_together", lambda self, tasks: pytest.fail("twice") if tasks else []
    )
    other = threading.Thread(target=other_run)
    other.start()
    assert held.wait(10)
    builder.train(chain, 0, (None,))
    other.join()
    assert builder.trainings.is_valid(key)

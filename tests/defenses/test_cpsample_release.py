"""What CPSample hands out: the raw network as it was, the classifier, no claims, gate rates; and what trains again."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from leakbench.api import Release
from leakbench.defenses.cpsample import CPSample, ProtectedRelease
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import fit_key
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.models.diffusion import Schedule, ddim_step, full_timesteps
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load


def test_the_raw_network_is_the_bases(task, protect):
    release, x = protect(alpha=0.5, scale=10.0), task.heldout
    assert torch.equal(release.raw_eps(x, full_timesteps(100, x)), task.base.raw_eps(x, full_timesteps(100, x)))
    assert release.network is task.base.network and not release.eps_is_raw and task.base.eps_is_raw
    assert torch.equal(
        release.initial_noise(torch.arange(5)), task.base.initial_noise(torch.arange(5))
    )  # same-seed pairs


def test_the_classifier_ships_and_the_bases_claims_do_not(artefacts, task, protect):
    release = protect(alpha=0.25)
    assert release.parts["classifier"] is artefacts.networks["classifier"]
    assert (
        release.guarantee.to_json() == {"void": "cpsample's classifier is trained on members"}
        and release.info["of"] == "base"
    )
    assert task.base.guarantee.to_json() == {"epsilon": 8.0}


@pytest.mark.parametrize("direction", ["classifier", "random"])
def test_releasing_reads_no_training_image(direction, task, small, artefacts):
    blind = replace(task, images=None, labels=None, near_duplicates=None)
    assert CPSample(**small, direction=direction).release(artefacts, blind).sample(2).shape == (2, 1, 8, 8)


def test_gate_rates_are_shares_of_samples_and_padding_does_not_count(task, protect):
    release = Release.with_batch(protect(alpha=0.25, scale=10.0), 4)
    release.sample(10)  # three batches, the last padded by two rows
    x, expected = task.base.initial_noise(torch.arange(10)), {}
    walk = Schedule(steps=10).timesteps()
    for s, u in zip(walk, [*walk[1:], -1], strict=True):
        eps, gate = release.guided(x, full_timesteps(s, x))
        expected[str(s)] = float(gate.sum()) / 10
        x = ddim_step(task.schedule, x, s, u, eps)
    assert release.facts() == {"gate_rate_by_t": pytest.approx(expected)}
    assert 0 < sum(expected.values()) < 10 and protect(alpha=0.25).facts() == {}


def test_gate_rates_survive_a_walk_that_ran_out_of_memory(protect, monkeypatch):
    release, guided, calls = protect(alpha=0.5), ProtectedRelease.guided, []

    def tight(self, x, t, label=None):
        calls.append(len(x))
        if len(calls) == 4:
            raise torch.cuda.OutOfMemoryError("simulated")
        return guided(self, x, t, label)

    monkeypatch.setattr(ProtectedRelease, "guided", tight)
    release.sample(5)
    assert release.facts() == {"gate_rate_by_t": {str(t): 1.0 for t in range(900, -1, -100)}}


def test_sweeping_the_sampling_parameters_trains_nothing(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (120, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "tiny.npz", images=pixels)
    (tmp_path / "s.toml").write_text(
        f'name = "s"\ndataset = "npz:{tmp_path / "tiny.npz"}"\n'
        "[split]\nmembers = 20\nnonmembers = 20\ncalibration_in = 20\ncalibration_out = 20\n"
        '[[defense]]\nname = "baseline"\n[[defense]]\nname = "cpsample"\nbase = "baseline"\nalpha = [0.0, 0.1, 0.5]\n'
        'scale = [1.0, 100.0]\ndirection = ["classifier", "random"]\n'
    )

    def keys(*overrides: str) -> set[str]:
        suite = load(str(tmp_path / "s.toml"), tuple(f"defense.cpsample.{one}" for one in overrides))
        builder = ReleaseBuilder(RunInputs(suite, RunConfig(tmp_path / "out", tmp_path / "cache")))
        chains = [point.chain for point in suite.points if point.id == "cpsample"]
        assert len(chains) == 12
        return {fit_key(builder.inputs, chain, 0) for chain in chains}

    (key,) = keys()
    changed = [keys(one) for one in ("steps=99", "batch=7", "lr=0.5", "width=9", "blocks=1", "flip=true")]
    assert all(len(found) == 1 for found in changed) and len({key, *(k for found in changed for k in found)}) == 7

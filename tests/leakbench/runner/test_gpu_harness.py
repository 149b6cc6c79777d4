"""The CUDA harness on a CUDA device: compiled and plain work agree, memory that runs out, several devices."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from leakbench.metrics import quality
from leakbench.metrics.frechet_distance import moments
from leakbench.models import networks
from leakbench.models.networks import NetworkSpec
from leakbench.models.training.gradients import Batch
from leakbench.models.training.loop import Recipe, train
from leakbench.runtime.device import AdaptiveBatch, Rng, autocast, compile, in_batches, place, prepare

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CUDA = torch.device("cuda")
SPEC = NetworkSpec(kind="unet", shape=(3, 16, 16), width=32, blocks=1)
STREAMS = Rng("gpu harness", 0)


def network() -> nn.Module:
    prepare(CUDA)
    return place(networks.build(SPEC, STREAMS.of("weights")), CUDA)


def trained(steps: int = 8) -> torch.Tensor:
    module, images = network(), STREAMS.of("images").normal(torch.arange(32, device=CUDA), SPEC.shape)

    def loss(module: nn.Module, batch: Batch) -> torch.Tensor:
        return (module(images[batch.index] + batch.noise, batch.t) - batch.noise).square().mean()

    options = {"stream": STREAMS.of("train"), "count": 32, "timesteps": 1000, "noise_shape": SPEC.shape}
    train(module, loss, Recipe(steps, batch=16), **options)
    return torch.cat([p.flatten() for p in module.parameters()])


def relative_difference(wanted: torch.Tensor, found: torch.Tensor) -> float:
    return float((wanted - found).norm() / wanted.norm())


@pytest.mark.slow
def test_a_compiled_network_answers_as_the_plain_one(capfd):
    module = network().eval().requires_grad_(False)
    x, t = torch.randn(16, *SPEC.shape, device=CUDA), torch.arange(16, device=CUDA)
    with torch.no_grad(), autocast(CUDA):
        wanted = module(x, t)
        choice = compile.maybe_compile(module, 10**6, CUDA, "test")
        with compile.request_compile(True), compile.record_compiled() as works, choice:
            first, second = module(x, t), module(x + 1, t)
        assert works == ["test"] and "leakbench:" not in capfd.readouterr().err  # it did not fail
        assert relative_difference(wanted, first) < 0.02
        assert relative_difference(module(x + 1, t), second) < 0.02  # and the first was not overwritten


@pytest.mark.slow
def test_a_compiled_training_goes_where_the_plain_one_goes(monkeypatch, capfd):
    plain = trained()
    monkeypatch.setattr(compile, "_MIN_STEPS", 1)
    start = torch.cat([p.flatten() for p in network().parameters()])
    with compile.request_compile(True), compile.record_compiled() as works:
        compiled = trained()
    assert len(works) == 1 and "torch.compile failed" not in capfd.readouterr().err
    assert relative_difference(plain - start, compiled - start) < 0.2


def test_training_twice_gives_the_same_bits():
    assert torch.equal(trained(), trained())


def test_memory_that_truly_runs_out_halves_the_batch():
    torch.cuda.empty_cache()
    size = torch.cuda.mem_get_info()[0] // 8  # float64 numbers that fill the device: 4 rows of a third do not fit

    def hungry(x: torch.Tensor) -> torch.Tensor:
        torch.empty(len(x) * (size // 3), dtype=torch.float64, device=CUDA)
        return 2 * x

    x = torch.arange(6.0, device=CUDA)
    assert torch.equal(in_batches(hungry, x, size=4, work="hungry"), 2 * x)
    assert AdaptiveBatch("hungry", x.device, 4).rows in (1, 2)


def test_moments_and_distances_on_the_device_are_those_of_the_cpu():
    streams = Rng("moments", 0)
    a, b = (streams.of(name).normal(torch.arange(300), (24,)) for name in "ab")
    ours, theirs = moments(a.cuda()), moments(a)
    np.testing.assert_allclose(ours.covariance, theirs.covariance, atol=1e-12)
    for measure in (quality.frechet, quality.kid):
        assert measure(a.cuda(), b.cuda()).value == pytest.approx(measure(a, b).value, rel=1e-9, abs=1e-12)
    wide = [streams.of(name).normal(torch.arange(40), (64,)) for name in "ab"]  # fewer rows than columns
    assert quality.frechet(*(x.cuda() for x in wide)).value == pytest.approx(quality.frechet(*wide).value, rel=1e-9)
    assert quality.precision_recall(a.cuda(), b.cuda()) == quality.precision_recall(a, b)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_devices_write_the_records_of_one(tiny, tmp_path, cache):
    """On the networks that one device trained, whose samples both draw again."""
    import shutil

    from leakbench.results.run_folder import RunFolder

    run = ["run", str(tiny), "--device", "cuda", "--out"]
    module = ["-m", "leakbench.cli", *run]
    alone = os.environ | {"CUDA_VISIBLE_DEVICES": "0"}
    subprocess.run([sys.executable, *module, str(tmp_path / "one")], env=alone, check=True)
    for name, start in {"torchrun": ["-m", "torch.distributed.run", "--nproc-per-node", "2"], "workers": []}.items():
        shutil.rmtree(cache / "samples")
        subprocess.run([sys.executable, *start, *module, str(tmp_path / name)], check=True)
        found = [RunFolder(tmp_path / folder).records for folder in ("one", name)]
        assert found[0] and [r.digest for r in found[0]] == [r.digest for r in found[1]]

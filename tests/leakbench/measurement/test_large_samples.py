"""Large samples are drawn and written some compute batches at a time, and are the same to the bit."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file

from leakbench.measurement import samples
from leakbench.measurement.samples import draw_samples
from leakbench.models import networks
from leakbench.models.diffusion import Schedule
from leakbench.models.release import Release
from leakbench.runtime.device import Rng
from leakbench.runtime.tensor_file import save_blocks


class Told(Release):
    """Notes how many samples it is asked for at one time."""

    asked: ClassVar[list[int]] = []

    def sample(self, n, label=None, first=0):
        self.asked.append(n)
        return super().sample(n, label, first)


def test_blocks_of_samples_are_those_drawn_at_once(tmp_path, monkeypatch):
    streams = Rng("test", 0)
    spec = networks.NetworkSpec(kind="mlp", shape=(1, 4, 4), width=8, blocks=1, conditions=3)
    network = networks.build(spec, streams.of("weights")).eval()
    release = Told(network, Schedule(steps=3), streams, (1, 4, 4), torch.device("cpu"), batch=4)
    draw_samples(release, 22, tmp_path / "whole", forgotten=1)
    assert release.asked == [22, 11]
    monkeypatch.setattr(samples, "_ELEMENTS", 9 * 16)  # two compute batches
    facts = draw_samples(release, 22, tmp_path / "blocks", forgotten=1)
    assert release.asked[2:] == [8, 8, 6, 8, 3] and facts["sample_seconds"] > 0
    whole, blocks = load_file(tmp_path / "whole"), load_file(tmp_path / "blocks")
    for name, count in {"samples": 22, "conditioned": 11}.items():
        assert whole[name].shape == (count, 1, 4, 4) and torch.equal(whole[name], blocks[name])
    assert torch.equal(whole["samples"], release.sample(22))


def test_blocks_are_read_as_one_tensor(tmp_path):
    values = torch.randn(7, 2, 3)
    save_blocks({"b": iter(values.split(3)), "a": [values[:2]]}, tmp_path / "f")
    found = load_file(tmp_path / "f")
    assert torch.equal(found["b"], values) and torch.equal(found["a"], values[:2])
    with pytest.raises(ValueError, match="float64"):
        save_blocks({"c": [values.double()]}, tmp_path / "g")

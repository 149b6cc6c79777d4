"""What judges samples is foreseen: the suite's own embedding and LPIPS, each as slow as it is."""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np
import pytest
import torch

from leakbench.data.image_view import ImageView
from leakbench.measurement import feature_extractor
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.metrics.features import ROWS
from leakbench.metrics.quality import frechet
from leakbench.metrics.weights.perceptual import Lpips
from leakbench.models.classifiers import SmallConvNet
from leakbench.runner.estimate import timing
from leakbench.runner.estimate.time_estimate import TimeEstimate, count_lpips_pairs
from leakbench.runner.estimate.timing import StepTimes, UnitTimes
from leakbench.runner.plan import Plan
from leakbench.runtime.batch_sizes import filled_rows
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

SUITE = """
name = "judged"
dataset = "npz:{data}"
[split]
members = 300
nonmembers = 40
[[defense]]
name = "untrained"
[[defense]]
name = "untrained"
id = "again"
[[attack]]
name = "loss"
[quality]
samples = {samples}
features = "{features}"
beside = []
"""
SLOW = 0.02  # seconds an image


def busy(seconds):
    """Computes for so long: on one thread the clock is the process's own, which a sleep does not move."""
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


class Slow:
    """An embedding that takes its time over every image, in batches as ours are."""

    name = "slow"
    asked = 0

    def at_once(self, images):
        Slow.asked += len(images)
        busy(SLOW * len(images))
        return images.flatten(1)


@pytest.fixture
def builder(tmp_path):
    """builder(features, samples): a workbench on random images, which trains nothing."""

    def make(features="pixels", samples=130):
        path = tmp_path / f"{samples}.toml"
        images = np.random.default_rng(0).integers(0, 256, (500, 12, 12, 1), dtype=np.uint8)
        np.savez(tmp_path / "data.npz", images=images)
        path.write_text(SUITE.format(data=tmp_path / "data.npz", samples=samples, features=features))
        return ReleaseBuilder(RunInputs(load(str(path)), RunConfig(tmp_path / "run", tmp_path / "cache")))

    return make


@pytest.fixture(autouse=True)
def free(monkeypatch):
    """The suite's own network takes no time, and no weights are at hand."""
    monkeypatch.setattr("leakbench.runner.estimate.timing.time_network", lambda *_: StepTimes(0.0, 0.0))
    monkeypatch.setattr(timing, "load_lpips", lambda: None)


def foreseen(builder):
    return TimeEstimate(builder.inputs).seconds(builder.inputs, Plan(builder, "all").cells, 1)


def test_a_slow_embedding_is_foreseen(builder, monkeypatch):
    """Two releases of 130 samples, which run in 128 and 8 rows, and the real images in compute batches once."""
    work = builder()
    without = foreseen(work)
    monkeypatch.setattr(feature_extractor, "resolve_features", lambda *_: Slow())
    Slow.asked = 0
    seconds = foreseen(work) - without
    assert Slow.asked < 100, "a plan is no run"
    parts = [len(work.inputs.split.train), len(work.inputs.heldout_rows), len(work.inputs.split.parts["reference"])]
    assert seconds == pytest.approx(SLOW * (2 * 136 + sum(filled_rows(part, ROWS) for part in parts)), rel=0.2)


def test_images_of_the_data_set_are_embedded_once(builder, monkeypatch):
    """Also where an attack joins them to samples, which are embedded whenever they come."""

    class Counting:
        seen: ClassVar[list[int]] = []

        def __call__(self, images):
            Counting.seen.append(len(images))
            return images[:].flatten(1)

    monkeypatch.setattr(feature_extractor, "resolve_features", lambda *_: Counting())
    work = builder()
    embed, real = (
        feature_extractor.FeatureExtractor(work.inputs),
        [work.inputs.part("reference"), work.inputs.part("nonmember")],
    )
    for seed in range(2):
        samples = torch.rand(7, 1, 12, 12, generator=torch.Generator().manual_seed(seed))
        found = embed(ImageView.concatenate([samples, *real]))
        assert torch.equal(found, torch.cat([samples, *(part.all() for part in real)]).flatten(1))
    assert torch.equal(embed(real[1].subset(slice(3))), real[1][:3].flatten(1)), "other rows are other images"
    assert Counting.seen == [7, *map(len, real), 7, 3]


def test_the_floor_is_made_once_for_all_releases(builder, monkeypatch):
    monkeypatch.setattr(feature_extractor, "resolve_features", lambda *_: lambda images: images[:].flatten(1))
    extractor = feature_extractor.FeatureExtractor(builder().inputs)
    assert extractor.floor(20) == frechet(extractor.train, extractor.heldout, 20)
    assert extractor.floor(20) is extractor.floor(20) and extractor.floor(15).n == 15


def test_slow_lpips_is_foreseen(builder, monkeypatch):
    """Each sample beside its nearest, and disjoint pairs of samples, 500 at the most."""

    class Network(torch.nn.Module):
        def forward(self, a, b):
            busy(SLOW * len(a))
            return a.flatten(1).mean(1)

    few, many = builder(), builder(samples=2000)
    without, more = foreseen(few), foreseen(many)
    monkeypatch.setattr(timing, "load_lpips", lambda: Lpips(Network()))
    assert foreseen(few) - without == pytest.approx(SLOW * 2 * (130 + 65), rel=0.2)
    assert foreseen(many) - more == pytest.approx(SLOW * 2 * (2000 + 500), rel=0.2)


def test_counts():
    assert [count_lpips_pairs(n) for n in (20, 999, 1000, 5000)] == [30, 999 + 499, 1500, 5500]


def test_an_embedding_is_timed_by_name_once(builder, monkeypatch):
    asked, work = [], builder()
    monkeypatch.setattr(timing, "seconds_an_image", lambda call, most: asked.append(most) or 0.0)
    estimate = TimeEstimate(work.inputs)
    for _ in range(3):
        estimate.seconds(work.inputs, Plan(work, "all").cells, 1)
    assert len(asked) == 1


def test_a_reader_is_timed_without_being_trained(builder, monkeypatch):
    monkeypatch.setattr(
        "leakbench.measurement.feature_extractor.train_reference_classifier", lambda *_: pytest.fail("trained")
    )
    seen = []
    features = SmallConvNet.features
    monkeypatch.setattr(SmallConvNet, "features", lambda self, x: seen.append(x.shape) or features(self, x))
    before = torch.random.get_rng_state()
    assert UnitTimes(builder("rotation").inputs).features > 0
    assert seen and all(shape[1:] == (1, 12, 12) for shape in seen)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_cannot_be_timed_is_one_line(builder, monkeypatch):
    with pytest.raises(UsageError, match=r"there is no TorchScript file nowhere\.pt"):
        foreseen(builder("torchscript:nowhere.pt"))

    def broken():
        raise ValueError("alexnet is not a state dict\nand more")

    monkeypatch.setattr(timing, "load_lpips", broken)
    with pytest.raises(UsageError, match=r"^alexnet is not a state dict$"):
        _ = UnitTimes(builder().inputs).lpips

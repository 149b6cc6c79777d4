"""Embeddings: names, batches, files, and clean-fid's own pipeline as the reference for inception."""

import json
from functools import partial

import numpy as np
import pytest
import torch

from leakbench.metrics import reference_classifier
from leakbench.metrics.features import (
    Inception,
    Pixels,
    TorchScript,
    resolve_features,
)
from leakbench.metrics.reference_classifier import (
    ReferenceClassifier,
    load_reference_classifier,
    save_reference_classifier,
    train_reference_classifier,
)
from leakbench.models.classifiers import SmallConvNet
from leakbench.runtime.device import Rng

CPU = torch.device("cpu")
STREAM = Rng("test", 0).of("reader")
NAME = "inception-2015-12-05.pt"

# The stand-ins are scripted here, which PyTorch has deprecated; the package itself only loads scripts.
pytestmark = pytest.mark.filterwarnings(r"ignore:`torch\.jit\.script")


class StandInLayers(torch.nn.Module):
    """Answers 2048 numbers of a 299x299 image, with inception's trailing 1x1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small = torch.nn.functional.adaptive_avg_pool2d(x, [26, 27]).flatten(1)
        return small[:, :2048].reshape(x.shape[0], 2048, 1, 1)


class StandInInception(torch.nn.Module):
    """The call convention of NVIDIA's inception-2015-12-05.pt: `layers` takes a normalised, resized image."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = StandInLayers()

    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        return self.layers((x - 128) / 128)


class Pair(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.mean(dim=(2, 3)) * 2, x


class Single(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=1, keepdim=True)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("LEAKBENCH_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    return tmp_path


def images(count: int, channels: int = 3, height: int = 8, width: int = 8) -> torch.Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("channels", [1, 3])
def test_inception_is_clean_fid(cache, channels):
    from cleanfid.fid import get_files_features
    from cleanfid.inception_torchscript import InceptionV3W
    from PIL import Image

    torch.jit.script(StandInInception()).save(cache / "weights" / NAME)
    stored = np.random.default_rng(0).integers(0, 256, (5, 12, 9, channels), dtype=np.uint8)
    files = [str(cache / f"{i}.png") for i in range(5)]
    for image, file in zip(stored, files, strict=True):
        Image.fromarray(image.squeeze()).save(file)
    with pytest.warns((FutureWarning, DeprecationWarning), match=r"torch\.jit\.load"):  # by torch release
        model = InceptionV3W(str(cache / "weights"), download=False)
    theirs = get_files_features(files, model, num_workers=0, device=CPU, verbose=False)
    ours = Inception(CPU)(torch.from_numpy(stored).permute(0, 3, 1, 2) / 127.5 - 1)
    assert ours.dtype == torch.float32 and ours.shape == (5, 2048)
    np.testing.assert_array_equal(ours, theirs)


def test_inception_refuses_other_channels(cache):
    torch.jit.script(StandInInception()).save(cache / "weights" / NAME)
    with pytest.raises(ValueError, match="not 4 channels"):
        Inception(CPU)(images(2, channels=4))


def test_missing_inception_names_the_file_and_the_place(cache):
    with pytest.raises(ValueError, match=f"{NAME}.*{cache / 'weights'}") as error:
        resolve_features("inception", True, _no_reader, CPU)
    assert "\n" not in str(error.value)


def _no_reader(name: str) -> ReferenceClassifier:
    raise AssertionError(f"{name} was trained for nothing")


def _reader(name: str) -> ReferenceClassifier:
    return ReferenceClassifier(SmallConvNet(1, 4), name)


def test_resolve(cache):
    assert resolve_features("auto", True, _reader, CPU).name == "classifier"
    assert resolve_features("auto", False, _reader, CPU).name == "rotation"
    assert resolve_features("rotation", True, _reader, CPU).name == "rotation"
    assert resolve_features("pixels", True, _no_reader, CPU).name == "pixels"
    torch.jit.script(StandInInception()).save(cache / "weights" / NAME)
    assert resolve_features("auto", True, _no_reader, CPU).name == "inception"
    assert resolve_features(f"torchscript:{cache / 'weights' / NAME}", True, _no_reader, CPU).name != "inception"
    with pytest.raises(ValueError, match="needs labels"):
        resolve_features("classifier", False, _no_reader, CPU)
    with pytest.raises(ValueError, match='"clip" is none of auto, inception'):
        resolve_features("clip", True, _no_reader, CPU)
    with pytest.raises(ValueError, match="no TorchScript file"):
        resolve_features("torchscript:nowhere.pt", True, _no_reader, CPU)


@pytest.mark.parametrize(("script", "expected"), [(Pair, (200, 3)), (Single, (200, 64))])
def test_torchscript(tmp_path, script, expected):
    torch.jit.script(script()).save(tmp_path / "net.pt")
    embed, x = TorchScript(tmp_path / "net.pt", CPU), images(200)
    assert embed.name == "torchscript:net"
    out = embed(x)
    assert out.shape == expected and torch.equal(embed(x[150:]), out[150:])


def test_pixels():
    x = images(3)
    assert torch.equal(Pixels()(x), x.flatten(1))


def test_a_rotation_reader_learns_its_task(monkeypatch):
    quick = partial(reference_classifier.train_classifier, steps=60)
    monkeypatch.setattr(reference_classifier, "train_classifier", quick)
    slope = torch.linspace(-0.7, 0.7, 12)[:, None]  # dark above
    x = torch.randn(200, 3, 12, 8, generator=torch.Generator().manual_seed(1)) * 0.2 + slope
    reader = train_reference_classifier(x, None, STREAM)
    assert reader.name == "rotation" and reader.network.classes == 4
    square = x[..., 2:10, :]
    for turns in range(4):
        assert (reader.network(square.rot90(turns, (-2, -1))).argmax(dim=1) == turns).float().mean() > 0.95


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_turned_images_lie_in_memory_alike_however_the_images_do(layout):
    """Convolutions round by the layout of what they are given, and a training parts by a rounding."""
    x = images(6, channels=3).contiguous(memory_format=layout)
    index = torch.tensor([0, 7, 23, 12])
    turned = reference_classifier._Turned(x)[index]
    assert turned.is_contiguous()
    expected = torch.stack([x[i % 6].rot90(i // 6, (-2, -1)) for i in index.tolist()])
    assert torch.equal(turned, expected)


def test_a_labelled_reader_is_a_classifier(monkeypatch):
    quick = partial(reference_classifier.train_classifier, steps=2)
    monkeypatch.setattr(reference_classifier, "train_classifier", quick)
    x, labels = images(30, channels=1), torch.arange(30) % 3
    reader = train_reference_classifier(x, labels, STREAM)
    assert reader.name == "classifier" and reader.network.classes == 3
    assert torch.equal(reader(x), train_reference_classifier(x, labels, STREAM)(x))


def test_readers_survive_their_files(tmp_path):
    x, reader = images(300, channels=1), _reader("classifier")
    save_reference_classifier(reader, tmp_path)
    state = torch.random.get_rng_state()
    again = load_reference_classifier(tmp_path, CPU)
    assert torch.equal(state, torch.random.get_rng_state())
    out = again(x)
    assert again.name == "classifier" and out.shape == (300, 64) and out.dtype == torch.float32
    assert torch.equal(out, reader(x)) and torch.equal(again(x[290:]), out[290:])
    assert not out.requires_grad and not again.network.training
    assert json.loads((tmp_path / "reader.json").read_text())["classes"] == 4

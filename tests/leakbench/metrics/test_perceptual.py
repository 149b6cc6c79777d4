"""LPIPS through the real loading path, with random AlexNet weights, beside lpips.LPIPS called directly."""

import pytest
import torch

from leakbench.data.image_view import ImagesLike
from leakbench.metrics.weights import perceptual
from leakbench.metrics.weights.perceptual import diversity, load_lpips, nearest_distance
from leakbench.metrics.weights.resources import LPIPS, missing
from leakbench.runtime.device import Rng

STREAM = Rng("test", 0).of("pairs")
NAME = "alexnet-owt-7be5be79.pth"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A random state dict in AlexNet's layout, as torchvision saves it; the classifier's layers are not needed."""
    from torchvision.models import alexnet

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = alexnet(weights=None)
    path = tmp_path_factory.mktemp("weights") / NAME
    torch.save({k: v for k, v in network.state_dict().items() if k.startswith("features.")}, path)
    return path


@pytest.fixture(scope="module")
def distance(weights):
    return load_lpips(weights)


def images(seed: int, count: int, channels: int = 3, size: int = 64) -> torch.Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def direct(weights, tmp_path_factory):
    """lpips.LPIPS built its own way: it asks torchvision, which finds the file in torch hub's folder."""
    import lpips
    import torchvision

    with pytest.MonkeyPatch.context() as patch, pytest.warns(UserWarning, match="deprecated"):
        original = torchvision.models.alexnet

        def local(pretrained: bool) -> torch.nn.Module:
            network = original(pretrained=not pretrained)
            network.load_state_dict(torch.load(weights), strict=False)
            return network

        patch.setattr(torchvision.models, "alexnet", local)
        return lpips.LPIPS(net="alex", verbose=False)


def test_agrees_with_the_package(distance, direct):
    a, b = images(1, 5, size=70), images(2, 5, size=70)
    torch.testing.assert_close(distance(a, b), direct(a, b).flatten(), rtol=1e-6, atol=0)


def test_small_and_grey_images_are_enlarged_and_repeated(distance, direct):
    a, b = images(1, 3, channels=1, size=8), images(2, 3, channels=1, size=8)
    big_a, big_b = (
        torch.nn.functional.interpolate(x.repeat(1, 3, 1, 1), size=(64, 64), mode="bilinear") for x in (a, b)
    )
    torch.testing.assert_close(distance(a, b), direct(big_a, big_b).flatten(), rtol=1e-6, atol=0)
    wide = torch.zeros(2, 1, 8, 16)
    assert distance(wide, wide).tolist() == [0.0, 0.0]


def test_batches_change_no_bit(distance):
    a, b = images(1, 40, size=16), images(2, 40, size=16)
    whole = distance(a, b)
    assert torch.equal(whole[35:], distance(a[35:], b[35:])) and bool((whole > 0).all())
    assert not whole.requires_grad


def test_weights_are_looked_for_and_never_fetched(tmp_path, monkeypatch, weights):
    hub = tmp_path / "hub"
    monkeypatch.setenv("LEAKBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(hub))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: pytest.fail("a download"))
    assert load_lpips() is None and load_lpips(tmp_path / "nowhere.pth") is None
    assert NAME in missing(LPIPS) and str(tmp_path / "weights") in missing(LPIPS)
    for folder in (hub / "checkpoints", tmp_path / "weights"):
        folder.mkdir(parents=True)
        (folder / NAME).write_bytes(weights.read_bytes())
        assert perceptual.alexnet_weights() == folder / NAME
    assert load_lpips() is not None


@pytest.mark.parametrize("content", [b"", b"not a state dict", None])
def test_a_wrong_file_is_named(tmp_path, content):
    path = tmp_path / "wrong.pth"
    path.write_bytes(content) if content is not None else torch.save({"features.0.weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"wrong\.pth is not a state dict"):
        load_lpips(path)


def first_pixel(a: ImagesLike, b: ImagesLike) -> torch.Tensor:
    return (a[:] - b[:])[:, 0, 0, 0].abs()


def test_diversity_is_a_mean_over_disjoint_pairs():
    x = torch.arange(100.0)[:, None, None, None].expand(-1, 3, 2, 2)
    seen: list[torch.Tensor] = []

    def record(a: ImagesLike, b: ImagesLike) -> torch.Tensor:
        seen.extend([a[:][:, 0, 0, 0], b[:][:, 0, 0, 0]])
        return first_pixel(a, b)

    estimate = diversity(x, record, STREAM, pairs=500)
    assert estimate.n == 50 and sorted(torch.cat(seen).tolist()) == list(range(100))
    assert estimate.low < 100 / 3 < estimate.high  # the mean difference of two uniform draws is a third of the range
    assert diversity(x, first_pixel, STREAM, pairs=20).n == 20
    assert diversity(x, first_pixel, STREAM) == estimate
    assert diversity(x[:1].expand(10, -1, -1, -1), first_pixel, STREAM).value == 0
    with pytest.raises(ValueError, match="two pairs"):
        diversity(x[:3], first_pixel, STREAM)


def test_nearest_distance():
    x = images(3, 400, size=2)
    y = images(4, 400, size=2)
    estimate = nearest_distance(x, y, first_pixel)
    values = first_pixel(x, y).double()
    assert estimate.value == pytest.approx(values.mean().item()) and estimate.n == 400
    assert estimate.high - estimate.value == pytest.approx(1.96 * values.std().item() / 20)

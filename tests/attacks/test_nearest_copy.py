"""Planted copies are found, at the similarity that a copy has; batches and order do not matter."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors
from torchvision import transforms

from leakbench.api import Access, AuditSetting
from leakbench.attacks.replication import _lpips
from leakbench.attacks.replication.nearest_copy import NearestCopy
from leakbench.metrics.weights.perceptual import load_lpips
from leakbench.runtime.device import Rng

STREAMS = Rng("test", 0)
TRAIN = torch.tanh(STREAMS.of("train").normal(torch.arange(60), (3, 8, 8)))
FRESH = torch.tanh(STREAMS.of("fresh").normal(torch.arange(30), (3, 8, 8)))
PLANTED = {3: 17, 11: 0, 29: 59}  # row of the queries -> row of the training images
QUERIES = FRESH.clone()
for row, source in PLANTED.items():
    QUERIES[row] = TRAIN[source]
PROJECTION = STREAMS.of("projection").normal(torch.arange(192), (16,))


def embed(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1) @ PROJECTION


@pytest.mark.parametrize(("by", "copy"), [("pixels", 0.0), ("features", 1.0)])
def test_planted_copies_are_found_at_the_similarity_of_a_copy(by, copy):
    found = NearestCopy(by=by).match(QUERIES, TRAIN, embed)
    for row, source in PLANTED.items():
        assert found.index[row] == source and found.similarity[row] == pytest.approx(copy, abs=1e-6)
    others = np.delete(found.similarity, list(PLANTED))
    assert others.max() < copy - 0.05


def test_pixels_are_scikit_learns_nearest_neighbour():
    found = NearestCopy(by="pixels").match(QUERIES, TRAIN, embed)
    theirs = NearestNeighbors(n_neighbors=1).fit(TRAIN.flatten(1).double())
    distance, index = theirs.kneighbors(QUERIES.flatten(1).double())
    assert np.array_equal(found.index, index[:, 0])
    np.testing.assert_allclose(-found.similarity, distance[:, 0] / np.sqrt(192), atol=1e-6)


def test_features_are_the_cosine_by_a_plain_loop():
    found = NearestCopy(by="features").match(QUERIES, TRAIN, embed)
    ours, theirs = embed(QUERIES).double().numpy(), embed(TRAIN).double().numpy()
    for i, q in enumerate(ours):
        cosine = [float(q @ r / np.linalg.norm(q) / np.linalg.norm(r)) for r in theirs]
        assert found.index[i] == int(np.argmax(cosine)) and found.similarity[i] == pytest.approx(max(cosine), abs=1e-6)


@pytest.mark.parametrize("by", ["pixels", "features"])
def test_batches_and_order_do_not_matter(by):
    attack = NearestCopy(by=by)
    whole = attack.match(QUERIES, TRAIN, embed)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    turned = attack.match(QUERIES[order], TRAIN, embed)
    assert np.array_equal(turned.index, whole.index[order])
    np.testing.assert_allclose(turned.similarity, whole.similarity[order], atol=1e-6)
    parts = [attack.match(rows, TRAIN, embed) for rows in QUERIES.split(7)]
    assert np.array_equal(np.concatenate([part.index for part in parts]), whole.index)
    np.testing.assert_allclose(np.concatenate([part.similarity for part in parts]), whole.similarity, atol=1e-6)


def test_it_sees_samples_only_and_names_its_space():
    assert NearestCopy().access is Access.SAMPLES
    assert NearestCopy(by="pixels").space("inception") == "pixels"
    assert NearestCopy(by="features").space("inception") == "inception"


def never(images: torch.Tensor) -> torch.Tensor:
    raise AssertionError("embedded")


def test_pixels_never_touch_the_embedding():
    assert len(NearestCopy(by="pixels").match(QUERIES, TRAIN, never).index) == 30


@pytest.fixture
def alexnet(cache):
    """Random weights in the file that LPIPS looks for."""
    from torchvision.models import alexnet as build

    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = build(weights=None).state_dict()
    (cache / "weights").mkdir(parents=True)
    torch.save({k: v for k, v in state.items() if k[:9] == "features."}, cache / "weights" / "alexnet-owt-7be5be79.pth")


def test_lpips_is_the_package_asked_about_every_pair(alexnet):
    found = NearestCopy(by="lpips").match(QUERIES[:6], TRAIN[:20], never)
    distance = load_lpips()
    for i in range(6):
        every = distance(QUERIES[i : i + 1].expand(20, -1, -1, -1).contiguous(), TRAIN[:20])
        assert found.index[i] == int(every.argmin())
        assert -found.similarity[i] == pytest.approx(float(every.min()), abs=1e-5)
    assert found.similarity[3] == pytest.approx(0, abs=1e-9) and found.index[3] == 17


def test_lpips_in_small_pieces_is_the_same(alexnet, monkeypatch):
    grey = torch.tanh(STREAMS.of("grey").normal(torch.arange(12), (1, 8, 8)))
    whole = NearestCopy(by="lpips").match(grey[:5], grey[3:], never)
    monkeypatch.setattr(_lpips, "_NUMBERS", 3 * 31872)
    parts = NearestCopy(by="lpips").match(grey[:5], grey[3:], never)
    assert np.array_equal(whole.index, parts.index) and whole.index[3:].tolist() == [0, 1]
    np.testing.assert_allclose(whole.similarity, parts.similarity, atol=1e-9)


class Means(torch.nn.Module):
    """Stands in for SSCD: the mean of each quarter of each channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


@pytest.fixture
def sscd(tmp_path, monkeypatch):
    path = tmp_path / "descriptor.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Means()).save(str(path))
    monkeypatch.setenv("LEAKBENCH_SSCD", str(path))


def test_sscd_is_the_cosine_of_descriptors_of_images_prepared_as_its_authors_do(sscd):
    found = NearestCopy(by="sscd").match(QUERIES, TRAIN, never)
    prepare = transforms.Compose(
        [transforms.Resize(288), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    )
    ours, train = (Means()(prepare((images + 1) / 2)).double().numpy() for images in (QUERIES, TRAIN))
    cosine = cosine_similarity(ours, train)
    assert np.array_equal(found.index, cosine.argmax(axis=1))
    np.testing.assert_allclose(found.similarity, cosine.max(axis=1), atol=1e-6)
    assert found.similarity[3] == pytest.approx(1) and found.index[3] == 17


def test_grey_and_oblong_images_fit_sscd(sscd):
    pictures = torch.tanh(STREAMS.of("oblong").normal(torch.arange(3), (1, 8, 12)))
    assert NearestCopy(by="sscd").match(pictures, pictures, never).index.tolist() == [0, 1, 2]


def test_missing_weights_are_named_and_no_crash(monkeypatch):
    monkeypatch.delenv("LEAKBENCH_SSCD", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "/nowhere")
    setting = AuditSetting((), "none", "nothing", 1000, 100)
    assert NearestCopy(by="pixels").skip(setting) is NearestCopy(by="features").skip(setting) is None
    for by in ("lpips", "sscd"):
        assert NearestCopy(by=by).skip(setting).flags == (f"{by}-missing",)
        with pytest.raises(ValueError, match="needs"):
            NearestCopy(by=by).match(QUERIES, TRAIN, never)
    monkeypatch.setenv("LEAKBENCH_SSCD", "/nowhere/at/all.pt")
    assert NearestCopy(by="sscd").skip(setting).flags == ("sscd-missing",)


def test_only_sscd_has_a_published_threshold():
    found = {by: NearestCopy(by=by).published for by in ("pixels", "features", "lpips", "sscd")}
    assert found == {"pixels": None, "features": None, "lpips": None, "sscd": np.nextafter(0.5, 1)}
    assert NearestCopy(by="lpips").space("inception") == "lpips" and NearestCopy(by="sscd").space("x") == "sscd"


def test_a_cutoff_of_ones_own_is_reported_beside_the_calibrated_one():
    assert NearestCopy(by="features", cutoff=0.97).published == 0.97
    assert NearestCopy(by="sscd", cutoff=0.6).published == 0.6
    assert NearestCopy(by="sscd").published == pytest.approx(0.5) and NearestCopy(by="features").published is None

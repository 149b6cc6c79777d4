"""However many images there are, only a batch of them exists as numbers: the peak does not grow with their number."""

import gc

import numpy as np
import pytest
import torch

from leakbench.api import Access, MembershipAttack, Release
from leakbench.data.image_batch import Images
from leakbench.data.image_view import ImageView
from leakbench.data.near_duplicates import near_duplicate_groups, near_duplicates
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, AttackTarget
from leakbench.metrics.copying import pixel_similarity
from leakbench.models.classifiers import train_classifier
from leakbench.models.diffusion import Schedule
from leakbench.runtime.device import Rng

SHAPE = (3, 16, 16)
SIZE = 3 * 16 * 16
NAMES = ("member", "nonmember", "calibration_in", "calibration_out")


class Watched:
    """Random images that are made when they are read, and the most of them that one read asked for."""

    dtype = np.dtype(np.uint8)

    def __init__(self, count: int) -> None:
        self.shape, self.most, self.read = (count, 16, 16, 3), 0, 0

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows):
        rows = np.arange(len(self))[rows]
        self.most, self.read = max(self.most, len(rows)), self.read + len(rows)
        words = (rows[:, None] * 2654435761 + np.arange(SIZE) * 40503) % 2**32
        return (words >> 13).astype(np.uint8).reshape(-1, 16, 16, 3)


class Bright(MembershipAttack):
    """Asks the network once and learns from public images, of which there are many."""

    name = "bright"
    access = Access.DENOISER
    learns_from = "public"

    def fit(self, calibration):
        assert calibration.public.ask(lambda view, images, labels: view.eps(images, 3)[:, 0, 0, 0]).isfinite().all()
        return self

    def score(self, view, images, labels):
        return view.eps(view.noised(5), 5).flatten(1).sum(dim=1)


def parts(source: ImageView) -> dict[str, Images]:
    found = {}
    for number, name in enumerate((*NAMES, "reference")):
        rows = np.arange(len(source))[number::5]
        found[name] = Images(source.subset(rows), torch.from_numpy(rows), None)
    return found


def target() -> AttackTarget:
    streams, network = Rng("streaming", 0), torch.nn.Identity()
    weight = streams.of("weights").normal(torch.arange(3), (3, 1, 1))
    network.forward = lambda x, t, label=None: torch.nn.functional.conv2d(x, weight)
    return AttackTarget.of(Release(network, Schedule(), streams, SHAPE, torch.device("cpu"), batch=16), streams)


def test_attacks_read_no_more_than_a_batch_at_a_time():
    pixels = Watched(330)
    evidence, _ = collect_membership_evidence(target(), {"b": AttackRequest(Bright(), False)}, parts(ImageView(pixels)))
    assert (
        sum(len(scores) for scores in vars(evidence["b"]).values() if scores is not None) == 330 - 66
    )  # the public images are not scored
    assert pixels.most == 16


def test_the_numbers_of_streamed_images_are_those_of_tensors():
    pixels = Watched(90)
    streamed = parts(ImageView(pixels))
    whole = {name: Images(one.images[:], one.ids, None) for name, one in streamed.items()}
    ours, theirs = (
        collect_membership_evidence(target(), {"b": AttackRequest(Bright(), False)}, one)[0]["b"]
        for one in (streamed, whole)
    )
    for mine, other in zip(vars(ours).values(), vars(theirs).values(), strict=True):
        np.testing.assert_array_equal(mine, other)


def held() -> int:
    """Bytes of all tensors that are alive, but for those of before the test."""
    gc.collect()
    return sum(one.numel() * one.element_size() for one in gc.get_objects() if issubclass(type(one), torch.Tensor))


def test_what_is_held_while_a_batch_is_scored_does_not_grow_with_the_images(young):
    found = []

    class Looking(Bright):
        name = "looking"

        def score(self, view, images, labels):
            if int(view.ids[0]) == 0:
                found.append(held())
            return super().score(view, images, labels)

    for count in (160, 1600):
        collect_membership_evidence(target(), {"l": AttackRequest(Looking(), False)}, parts(ImageView(Watched(count))))
    assert found[1] - found[0] < 4 * (1600 - 160) * 16  # row numbers, and not pixels, of which an image has 768


@pytest.mark.parametrize("count", [700, 1400])
def test_searches_and_readers_read_blocks(count, monkeypatch):
    monkeypatch.setattr("leakbench.data.neighbours._ELEMENTS", 600 * SIZE)
    monkeypatch.setattr("leakbench.data.near_duplicates._BLOCK", 512)
    monkeypatch.setattr("leakbench.data.near_duplicates._ELEMENTS", 600 * SIZE)
    monkeypatch.setattr("leakbench.data.close_pairs._ELEMENTS", 600 * SIZE)
    pixels = Watched(count)
    source = ImageView(pixels)
    near_duplicates(source, 1.0)
    near_duplicate_groups(source)
    found = pixel_similarity(source[5:7], source)
    assert found.index.tolist() == [5, 6] and found.similarity.tolist() == [0.0, 0.0]
    train_classifier(source, torch.arange(count) % 2, 2, Rng("streaming", 0).of("reader"), steps=2)
    assert pixels.most <= 600

"""Images by number: the values of the whole data set, whichever way they are asked for."""

import threading

import numpy as np
import pytest
import torch

from leakbench.data import Dataset
from leakbench.data.image_view import FeatureRows, ImageView, floats
from leakbench.data.prefetch import Prefetcher

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 3), dtype=np.uint8)
PLAIN = torch.from_numpy(PIXELS.astype(np.float32) / np.float32(127.5) - np.float32(1)).permute(0, 3, 1, 2)
ROWS = np.random.default_rng(1).permutation(40)[:25]


@pytest.fixture(params=["array", "memory map", "bytes on the device", "tensor"])
def pictures(request, tmp_path):
    if request.param == "memory map":
        mapped = np.memmap(tmp_path / "pixels", np.uint8, "w+", shape=PIXELS.shape)
        mapped[:] = PIXELS
        return ImageView(mapped, ROWS)
    kinds = {"array": PIXELS, "bytes on the device": torch.from_numpy(PIXELS), "tensor": PLAIN}
    return ImageView(kinds[request.param], ROWS)


def test_any_index_gives_what_it_gives_of_all_images(pictures):
    whole = PLAIN[ROWS]
    mask, numbers = torch.arange(25) % 3 == 1, torch.tensor([7, 0, 7, -1])
    wanted = [slice(3, 9), slice(None), slice(0, 0), mask, mask.numpy(), numbers, numbers.numpy(), numbers.view(2, 2)]
    for index in wanted:
        found = pictures[index]
        assert found.dtype == torch.float32 and found.shape == whole[index].shape
        assert torch.equal(found, whole[index])
    assert torch.equal(pictures[4], whole[4]) and torch.equal(pictures[-1], whole[-1])
    assert torch.equal(torch.stack(list(pictures)), whole)  # iteration ends by itself
    assert len(pictures) == 25 and pictures.shape == whole.shape and torch.equal(pictures.all(), whole)
    for wrong in (25, torch.tensor([25])):
        with pytest.raises(IndexError):
            pictures[wrong]


def test_all_levels_are_those_of_the_data_set_to_the_bit():
    levels = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)
    ours, theirs = ImageView(levels).all(), Dataset("levels", levels).tensors(np.arange(256))
    assert torch.equal(ours.view(torch.int32), theirs.view(torch.int32)) and ours.is_contiguous()
    table = torch.arange(256).float() / 127.5 - 1.0  # what devices other than the CPU look up
    assert torch.equal(theirs.flatten(), table)
    assert torch.equal(floats(torch.from_numpy(levels)).flatten(), table)


def test_views_of_views_and_joined_views_read_no_pixel():
    read = []

    class Counted:
        shape, dtype = PIXELS.shape, PIXELS.dtype

        def __len__(self):
            return len(PIXELS)

        def __getitem__(self, rows):
            read.append(len(rows))
            return PIXELS[rows]

    source = ImageView(Counted())
    some = source.subset(torch.arange(40) % 2 == 0).subset(np.array([3, 1]))
    both = ImageView.concatenate([some, source.subset(slice(10, 12)), some.to("cpu")])
    assert both.shape == (6, 3, 6, 5) and not read
    assert torch.equal(both.all(), PLAIN[[6, 2, 10, 11, 6, 2]]) and read == [6]


def test_views_of_different_sources_are_joined_by_their_values():
    joined = ImageView.concatenate([ImageView(PIXELS, ROWS[:3]), PLAIN[:2], ImageView(PIXELS[5:7])])
    assert torch.equal(joined.all(), PLAIN[[*ROWS[:3], 0, 1, 5, 6]])


def test_what_was_joined_comes_apart_again():
    views = [ImageView(PIXELS, ROWS[:3]), ImageView(PLAIN[:2])]
    joined = ImageView.concatenate(views)
    assert [part.identity for part in joined.parts] == [view.identity for view in views]
    for whole in (views[0], joined.subset(slice(1, 4))):
        assert [part.identity for part in whole.parts] == [whole.identity]


def test_a_chain_finds_each_image_in_its_source():
    parts = [ImageView(PIXELS, ROWS[:3]), PLAIN[10:12], ImageView(PIXELS[5:7])]
    chain, whole = ImageView.concatenate(parts), torch.cat([part[:] for part in parts])
    turned = torch.tensor([[6, 0], [4, 3]])
    assert torch.equal(chain[turned], whole[turned]) and torch.equal(chain[5], whole[5]) and chain.shape == whole.shape
    assert torch.equal(
        ImageView.concatenate([chain.subset(turned[0]), PLAIN[:1]]).all(), torch.cat([whole[[6, 0]], PLAIN[:1]])
    )


@pytest.mark.parametrize("images", [ImageView(PIXELS, ROWS), PLAIN[ROWS]])
def test_a_table_has_a_row_for_each_image(images):
    whole, index = PLAIN[ROWS].flatten(1), torch.tensor([[3, 1, 4], [1, 5, 9]])
    table, peaks = FeatureRows(images), FeatureRows(images, lambda some: some.amax(dim=(2, 3)))
    assert len(table) == 25 and table.shape == whole.shape and peaks.shape == (25, 3)
    assert torch.equal(table[4:9], whole[4:9]) and torch.equal(table[index], whole[index])
    assert torch.equal(peaks[index[0]], PLAIN[ROWS][index[0]].amax(dim=(2, 3)))


def test_a_prefetcher_gives_announced_batches_and_pieces_of_them_and_reads_in_order():
    read: list[list[int]] = []

    def reading(index):
        read.append(index.tolist())
        return torch.from_numpy(PIXELS[index.numpy()])

    ahead, batches = Prefetcher(reading, torch.device("cpu")), list(torch.arange(12).view(4, 3))
    assert ahead.get(batches[0]) is None
    ahead.schedule(batches)
    for index in batches:
        for piece in (index, index[0:3], index[1:], index[2:3]):
            assert torch.equal(ahead.get(piece), torch.from_numpy(PIXELS[piece.numpy()]))
        assert ahead.get(index.clone()) is None and ahead.get(index[::2]) is None
    assert read == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert ahead.get(batches[2]) is None  # a later one was asked for


def test_a_prefetcher_works_while_others_do_and_drops_what_was_not_asked_for():
    release, read = threading.Event(), []

    def reading(index):
        read.append(int(index[0]))
        release.wait(10)
        return torch.from_numpy(PIXELS[index.numpy()])

    ahead, batches = Prefetcher(reading, torch.device("cpu")), list(torch.arange(8).view(8, 1))
    ahead.schedule(batches)  # returns while the first is still being read
    ahead.schedule(batches[6:])
    release.set()
    assert int(ahead.get(batches[7])[0, 0, 0, 0]) == PIXELS[7, 0, 0, 0]
    assert set(read) <= {0, 6, 7} and ahead.get(batches[1]) is None


def test_an_error_while_reading_ahead_is_raised_where_the_batch_is_asked_for():
    def reading(index):
        raise OSError("the disk is gone")

    ahead, index = Prefetcher(reading, torch.device("cpu")), torch.arange(3)
    ahead.schedule([index])
    with pytest.raises(OSError, match="the disk is gone"):
        ahead.get(index)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("resident", [True, False])
def test_on_cuda_the_values_are_the_same_bits(resident, monkeypatch):
    monkeypatch.setattr("leakbench.data.image_view._SHARE", 0.25 if resident else 0.0)
    pictures = ImageView(PIXELS, ROWS).to("cuda")
    batches = list(torch.randint(25, (6, 4), device="cuda"))
    pictures.prefetch(batches)
    for index in batches:
        assert torch.equal(pictures[index].cpu(), PLAIN[ROWS][index.cpu()])
    assert torch.equal(pictures.all().cpu(), PLAIN[ROWS]) and pictures[:].is_cuda

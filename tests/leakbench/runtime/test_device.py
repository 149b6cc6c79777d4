"""Random streams are Random123's Philox, the same for every element whatever is made beside it; batches are fixed."""

import os

import numpy as np
import pytest
import torch
from scipy import stats

from leakbench.runtime.device import (
    AdaptiveBatch,
    Rng,
    RngStream,
    devices,
    in_batches,
    philox,
    prepare,
    record_batch_reductions,
    rng,
)
from leakbench.runtime.device.precision import takes_channels_last

STREAM = Rng("test", 0).of("noise")
ONES = 0xFFFFFFFF
PUBLISHED = [  # kat_vectors of Random123 1.14 (D. E. Shaw Research), philox4x32 10 rounds: counter, key, answer
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), PUBLISHED)
def test_philox_gives_the_published_vectors(counter, key, answer):
    c0, c1, c2, c3 = (torch.tensor([word]) for word in counter)
    assert tuple(int(word) for word in philox((c0, c1, c2, c3), key)) == answer


def test_the_words_of_a_stream_are_philox_of_block_draw_and_id():
    words = RngStream((0xA4093822, 0x299F31D0)).words(torch.tensor([5, 9]), 7, draw=3)
    for row, number in enumerate((5, 9)):
        for block in range(2):
            counter = [torch.tensor([word]) for word in (block, 3, number, 0)]
            expected = [int(word) for word in philox(tuple(counter), (0xA4093822, 0x299F31D0))]
            assert words[row, 4 * block : 4 * block + 4].tolist() == expected[: 7 - 4 * block]


@pytest.mark.parametrize("kind", ["normal", "uniform", "integers"])
def test_any_element_can_be_made_alone_and_in_any_order(kind):
    def make(ids: list[int]) -> torch.Tensor:
        high = (10,) if kind == "integers" else ()
        return getattr(STREAM, kind)(torch.tensor(ids), *high, (3, 5), 2)

    ids = [7, 0, 4_000_000_000, 12, 5]
    together = make(ids)
    for row, number in enumerate(ids):
        assert torch.equal(make([number])[0], together[row])
    assert torch.equal(make(ids[::-1]), together.flip(0))


def test_a_shorter_shape_is_the_beginning_of_a_longer_one():
    ids = torch.arange(4)
    assert torch.equal(STREAM.normal(ids, (5,)), STREAM.normal(ids, (64,))[:, :5])


def test_normals_are_normal():
    drawn = STREAM.normal(torch.arange(500), (3, 8, 8)).double().flatten()
    assert stats.kstest(drawn.numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(drawn.abs().numpy(), "halfnorm").pvalue > 1e-3  # radius and angle are independent
    assert abs(float((drawn[:-1] * drawn[1:]).mean())) < 4 / len(drawn) ** 0.5


@pytest.mark.parametrize("word", [0, ONES])
def test_the_extreme_words_are_neither_0_nor_1_and_make_finite_normals(monkeypatch, word):
    """The logarithm of a uniform 0 would be infinite; Philox gives that word once in 2^32."""
    monkeypatch.setattr(rng, "philox", lambda counter, key: (torch.full_like(sum(counter), word),) * 4)
    ids = torch.arange(2)
    uniform = STREAM.uniform(ids, (3,))
    assert (uniform > 0).all() and (uniform < 1).all()
    assert uniform[0, 0] == (word + 0.5) / 2**32
    assert STREAM.normal(ids, (4,)).isfinite().all()
    assert set(STREAM.integers(ids, 10, (3,)).flatten().tolist()) == {0 if word == 0 else 9}


def test_uniforms_and_integers_are_even():
    uniform = STREAM.uniform(torch.arange(400), (101,)).flatten().numpy()
    assert uniform.min() > 0 and uniform.max() < 1
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    for high in (2, 7, 1000):
        drawn = STREAM.integers(torch.arange(20_000), high).numpy()
        assert stats.chisquare(np.bincount(drawn, minlength=high)).pvalue > 1e-3
        assert drawn.min() == 0 and drawn.max() == high - 1


def test_purposes_seeds_draws_and_datasets_are_uncorrelated():
    ids = torch.arange(200)
    rows = [
        STREAM.normal(ids, (50,)),
        STREAM.normal(ids, (50,), draw=1),
        Rng("test", 0).of("other").normal(ids, (50,)),
        Rng("test", 0).of("noise", 1).normal(ids, (50,)),
        Rng("test", 1).of("noise").normal(ids, (50,)),
        Rng("other", 0).of("noise").normal(ids, (50,)),
        STREAM.normal(ids + 1, (50,)),
    ]
    correlation = np.corrcoef(torch.stack(rows).flatten(1).numpy()) - np.eye(len(rows))
    assert np.abs(correlation).max() < 4.5 / 10_000**0.5


def test_the_same_purpose_is_the_same_stream_and_word_borders_count():
    assert Rng("a", 3).of("train", "x") == Rng("a", 3).of("train", "x")
    assert Rng("a", 3).of("ab", "c") != Rng("a", 3).of("a", "bc")


def test_in_batches_computes_batches_of_fixed_sizes_padded_by_their_first_row():
    seen = []

    def double(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        seen.append(x.clone())
        return x + y

    x = torch.arange(41.0)
    assert torch.equal(in_batches(double, x, 10 * x, size=32), 11 * x)
    assert [len(rows) for rows in seen] == [32, 16]
    assert seen[-1].tolist() == [*range(32, 41), *[32] * 7]


def test_in_batches_halves_when_memory_runs_out():
    sizes = []

    def picky(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > 3 or (len(sizes) == 4):
            raise torch.cuda.OutOfMemoryError("simulated")
        return x * 2

    x = torch.arange(11.0)
    assert torch.equal(in_batches(picky, x, size=8), 2 * x)
    assert sizes[:5] == [8, 4, 2, 2, 1]


def test_in_batches_gives_up_when_one_row_is_too_much():
    def never(x: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("simulated")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        in_batches(never, torch.arange(4.0), size=4)


def test_what_fitted_is_where_the_same_work_begins_the_next_time_and_no_other():
    sizes = []

    def picky(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if len(x) > 3:
            raise torch.cuda.OutOfMemoryError("simulated")
        return x * 2

    x = torch.arange(4.0)
    with record_batch_reductions() as early:
        in_batches(picky, x, size=8, work="one")
    with record_batch_reductions() as late:
        in_batches(picky, x, size=8, work="one")
        in_batches(lambda x: x, x, size=8, work="other")
    assert sizes == [8, 4, 2, 2, 2, 2] and early == late == {"one": 2}  # it is said every time
    assert AdaptiveBatch("one", x.device, 8).rows == 2 and AdaptiveBatch("one", x.device, 4).rows == 4


def test_one_row_too_many_is_an_error_that_nothing_hides():
    def never(rows: int) -> None:
        raise torch.cuda.OutOfMemoryError("simulated")

    with pytest.raises(torch.cuda.OutOfMemoryError), record_batch_reductions() as note:
        AdaptiveBatch("never", torch.device("cpu"), 5).run(never)
    assert note == {}


def test_images_are_laid_out_by_channels_and_volumes_are_left_alone():
    flat, deep = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv3d(3, 4, 3)
    assert takes_channels_last(flat) and takes_channels_last(torch.nn.Linear(2, 2)) and not takes_channels_last(deep)
    laid = flat.to(memory_format=torch.channels_last)
    assert laid.weight.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError):  # what the question spares
        deep.to(memory_format=torch.channels_last)


def test_a_process_on_cuda_is_deterministic_without_tf32_and_on_its_own_device(monkeypatch):
    """The settings alone, as torch keeps them without a device as well."""
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    try:
        prepare(torch.device("cuda:1"))
        assert torch.are_deterministic_algorithms_enabled() and torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
        assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
        assert chosen == [torch.device("cuda:1")] and "CUBLAS_WORKSPACE_CONFIG" in os.environ
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.deterministic = before[1]
        torch.backends.cudnn.allow_tf32 = True


def test_the_devices_of_a_kind(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices("cpu") == ["cpu"] and devices("cuda") == ["cuda:0", "cuda:1"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cpu_and_cuda_agree():
    ids = torch.arange(1000)
    assert torch.equal(STREAM.words(ids, 9, 2), STREAM.words(ids.cuda(), 9, 2).cpu())
    assert torch.equal(STREAM.integers(ids, 997, (9,)), STREAM.integers(ids.cuda(), 997, (9,)).cpu())
    assert (STREAM.normal(ids, (3, 8, 8)) - STREAM.normal(ids.cuda(), (3, 8, 8)).cpu()).abs().max() <= 1e-6

"""Compute batches: which sizes rows run in, and how little is padded."""

import pytest

from leakbench.runtime.batch_sizes import filled_rows, fixed_batches, fixed_sizes, next_size


@pytest.mark.parametrize(
    ("full", "sizes"),
    [(64, [64, 32, 16, 8]), (256, [256, 128, 64, 32, 16, 8]), (100, [100, 50, 25, 12]), (15, [15]), (1, [1])],
)
def test_sizes_are_the_full_one_and_its_halves(full, sizes):
    assert fixed_sizes(full) == sizes


@pytest.mark.parametrize(
    ("count", "rows"),
    [(0, []), (1, [8]), (31, [32]), (32, [32]), (33, [32, 8]), (47, [32, 16]), (49, [64]), (64, [64]), (65, [64, 8])],
)
def test_rows_that_are_computed_in_batches_of_64(count, rows):
    assert [part.stop - part.start + short for part, short in fixed_batches(count, 64)] == rows
    assert filled_rows(count, 64) == sum(rows)


@pytest.mark.parametrize("full", [1, 7, 8, 64, 100, 256])
def test_every_row_is_computed_once_and_at_most_a_third_is_added(full):
    smallest = fixed_sizes(full)[-1]
    for count in range(3 * full):
        found = list(fixed_batches(count, full))
        assert [row for rows, _ in found for row in range(rows.start, rows.stop)] == list(range(count))
        assert all(rows.stop - rows.start + short in fixed_sizes(full) for rows, short in found)
        assert filled_rows(count, full) <= 4 / 3 * (count + smallest - 1)


def test_rows_at_equal_places_among_all_run_in_equal_batches_however_processes_share_them():
    """A process has whole full batches, the last also the rest: see leakbench.runtime.distributed.shard."""
    alone = list(fixed_batches(150, 64))
    shared = [
        (slice(start + rows.start, start + rows.stop), short)
        for start, stop in ((0, 64), (64, 128), (128, 150))
        for rows, short in fixed_batches(stop - start, 64)
    ]
    assert shared == alone
    assert next_size(22, 64) == 16

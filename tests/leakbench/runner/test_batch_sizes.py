"""Records over compute batches: sums are rounded in another order, and nothing else."""

from __future__ import annotations

import numpy as np

from leakbench.results.run_folder import RunFolder

RTOL, ATOL = 1e-4, 1e-5  # of scores, as docs/reproducibility.md states them


def test_records_at_another_compute_batch_are_the_same_within_the_stated_tolerance(leakbench, trained, tiny, finished):
    out = tiny.parent / "smaller"
    assert leakbench("run", tiny, "--out", out, "--workers", 1, "--set", "sampler.batch=16").code == 0
    ours, theirs = RunFolder(finished.out), RunFolder(out)
    assert len(ours.records) == len(theirs.records) > 10
    for one, other in zip(ours.records, theirs.records, strict=True):
        assert one.stem == other.stem and one.inputs != other.inputs  # made anew
        arrays, again = ours.arrays(one), theirs.arrays(other)
        for name in (name for name in arrays if name.endswith(("scores", "similarity"))):
            np.testing.assert_allclose(again[name], arrays[name], rtol=RTOL, atol=ATOL, err_msg=f"{one.stem}: {name}")
        for metric in one.metrics:
            found = other.metric(metric.name)
            assert found is not None and found.n == metric.n
            wanted = 1 / metric.n  # one image that changes sides
            assert abs(found.value - metric.value) <= wanted, (one.stem, metric, found)

"""Two records compared: in pairs where they share images or sample seeds, and else as if they shared nothing."""

from __future__ import annotations

import numpy as np
import pytest

from leakbench.reports.reading.comparison import Source, compare_records
from leakbench.results.record import Metric
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import delong_pair, proportion_pair, tpr_pair


def find(run, point, attack, access, seed=0):
    (record,) = [r for r in run.records if (r.point, r.attack, r.access, r.seed) == (point, attack, access, seed)]
    return Source(run, record)


@pytest.fixture
def small(tmp_path, make_run):
    return make_run(tmp_path, keep=lambda r: r.point in ("baseline", "cpsample alpha=0.25"))


@pytest.mark.parametrize("metric", ["auc", "oriented_auc", "tpr@fpr=0.1"])
def test_scores_of_the_same_images_are_paired(small, metric):
    sources = [find(small, point, "pia", "DENOISER") for point in ("baseline", "cpsample alpha=0.25")]
    arrays = [small.arrays(source.record) for source in sources]
    four = [found[f"{side}_scores"] for found in arrays for side in ("member", "nonmember")]
    found = compare_records(*sources, metric)
    expected = tpr_pair(*four, 0.1) if "tpr" in metric else delong_pair(*four)
    assert found.paired and found.found == expected


def test_other_images_and_other_seeds_are_not_paired(small):
    sources = [find(small, point, "pia", "DENOISER") for point in ("baseline", "cpsample alpha=0.25")]
    other = find(small, "cpsample alpha=0.25", "pia", "DENOISER", seed=1)
    assert not compare_records(sources[0], other, "auc").paired
    for source, first in zip(sources, (0, 1), strict=True):
        rows = {f"{side}_rows": np.arange(first, first + 250) for side in ("member", "nonmember")}
        save_record(small.path, source.record, small.arrays(source.record) | rows)
    again = RunFolder(small.path)
    shifted = compare_records(*(find(again, s.record.point, "pia", "DENOISER") for s in sources), "auc")
    plain = compare_records(*sources, "auc").found.difference
    assert not shifted.paired and shifted.found.difference.value == pytest.approx(plain.value)


def test_an_attack_whose_members_score_lower_is_read_the_other_way_round(small):
    source = find(small, "cpsample alpha=0.25", "pia", "WEIGHTS")
    turned = {name: -array for name, array in small.arrays(source.record).items()}
    save_record(small.path, source.record, turned)
    again = RunFolder(small.path)
    before, after = find(again, "baseline", "pia", "WEIGHTS"), find(again, "cpsample alpha=0.25", "pia", "WEIGHTS")
    assert compare_records(before, after, "auc").found.difference.value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("metric", ["copy_rate", "copy_rate_excess"])
def test_copies_of_the_same_sample_seeds_are_paired(small, metric):
    sources = [find(small, p, "nearest_copy_pixels", "SAMPLES") for p in ("baseline", "cpsample alpha=0.25")]
    copies = [small.arrays(s.record)["similarity"] >= s.record.info["threshold"] for s in sources]
    found = compare_records(*sources, metric)
    values = [source.record.metric(metric).value for source in sources]
    assert found.paired and found.found == proportion_pair(*copies)
    assert found.found.difference.value == pytest.approx(values[0] - values[1])
    other = sources[1].record.model_copy(update={"info": {"threshold": 0.5}})
    assert not compare_records(sources[0], Source(small, other), metric).paired


def shared(run, shares):
    """The quality records of two points with the shares of four samples and three images in `frechet_heldout`."""
    for point, ours in zip(("baseline", "cpsample alpha=0.25"), shares, strict=True):
        arrays = {"share_of_frechet_heldout_0": ours, "share_of_frechet_heldout_1": np.full(3, 0.1)}
        save_record(run.path, find(run, point, "quality", "SAMPLES").record, arrays)
    again = RunFolder(run.path)
    return [find(again, point, "quality", "SAMPLES") for point in ("baseline", "cpsample alpha=0.25")]


def test_distances_are_paired_by_the_shares_that_records_keep(small):
    assert not compare_records(
        *(find(small, p, "quality", "SAMPLES") for p in ("baseline", "cpsample alpha=0.25")), "frechet_heldout"
    ).paired
    sources = shared(small, [np.array([0.1, -0.1, 0.2, -0.2]), np.array([0.1, -0.1, 0.2, 0.1])])
    found, values = (
        compare_records(*sources, "frechet_heldout"),
        [s.record.metric("frechet_heldout").value for s in sources],
    )
    assert found.paired and found.found.difference.value == pytest.approx(values[0] - values[1])
    assert found.found.difference.high - found.found.difference.value == pytest.approx(1.96 * 0.3, rel=1e-4)
    moved = [Metric(name="frechet_floor", value=9.0, n=500), *sources[1].record.metrics]
    elsewhere = sources[1].record.model_copy(update={"metrics": moved})  # another floor: other real images
    assert not compare_records(sources[0], Source(small, elsewhere), "frechet_heldout").paired


def test_without_a_value_there_is_nothing_to_compare(small):
    sources = [find(small, point, "quality", "SAMPLES") for point in ("baseline", "cpsample alpha=0.25")]
    assert compare_records(*sources, "recall") is None

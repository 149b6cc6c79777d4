"""Copies of one training image, or of many: told where something copies, and where a model has collapsed."""

import json

import numpy as np
import pytest

from leakbench.api import ReplicationEvidence
from leakbench.metrics.evaluate.replication import evaluate_replication
from leakbench.reports.sections.collapse import format_collapse, list_collapsed
from leakbench.reports.site.report import render
from leakbench.results.record import Record
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics.proportions import clopper_pearson

SAMPLES, TRAIN = 100, 50
COPIES = {  # point: which training images are copied, and how often
    "baseline": [7] * 90,
    "cpsample alpha=0.5": list(range(20)) * 2,
    "cpsample alpha=0.001": [],
}


def write(path, hits=COPIES, attacks=("nearest_copy_pixels", "nearest_copy_features"), searched=TRAIN):
    plan = [
        {"point": name, "defense": name.split()[0], "role": "baseline" if name == "baseline" else "defense"}
        for name in hits
    ]
    path.mkdir(parents=True, exist_ok=True)
    (path / "plan.json").write_text(json.dumps({"suite": "told", "seeds": [0], "points": plan}))
    real = np.random.default_rng(0).normal(-0.6, 0.05, 300)
    for name, copied in hits.items():
        for attack in attacks:
            similarity = np.where(np.arange(SAMPLES) < len(copied), 0.5, -0.7)
            nearest = np.concatenate([np.array(copied, dtype=int), np.arange(SAMPLES - len(copied)) % TRAIN])
            evidence = ReplicationEvidence(similarity, nearest, real[:150], real[150:])
            told = evaluate_replication(evidence, searched=searched)
            record = Record(
                **{"suite": "told", "dataset": "digits", "model": "mlp", "defense": name.split()[0], "point": name},
                **{"attack": attack, "family": "replication", "access": "SAMPLES", "seed": 0, "features": "pixels"},
                **{"metrics": told.metrics, "info": told.info, "defense_params": {}},
            )
            save_record(path, record, evidence.arrays)
    return RunFolder(path)


def test_each_point_says_how_many_samples_are_its_most_copied_image(tmp_path):
    titles, cells = format_collapse(write(tmp_path, attacks=("nearest_copy_pixels",)))
    assert titles == ["point", "attack", "copies", "of the one image copied most", "training images copied"]
    wide, own = clopper_pearson(90, 100, 1 - 0.05 / TRAIN), clopper_pearson(90, 100)
    assert cells[0][2:4] == [f"90.0 % [{100 * one.low:.1f}, {100 * one.high:.1f}]" for one in (own, wide)]
    assert wide.low < own.low
    assert [row[3].split(" %")[0] for row in cells] == ["90.0", "2.0", "0.0"]
    assert [row[4].split()[0] for row in cells] == ["1", "20", "0"]


def test_collapse_is_said_where_more_than_half_copy_one_image(tmp_path):
    run = write(tmp_path)
    assert list_collapsed(run) == ["baseline"]
    report = render(run)
    assert "## Copies of one image, or of many" in report
    assert "**Mode collapse**, more than half of all samples copying one training image, at: baseline.\n" in report


def test_forty_copies_of_twenty_images_are_no_collapse(tmp_path):
    run = write(tmp_path, {"baseline": COPIES["cpsample alpha=0.5"]})
    assert list_collapsed(run) == [] and "**Mode collapse**" not in render(run)
    assert "## Copies of one image, or of many" in render(run)


@pytest.mark.parametrize(("hits", "searched"), [({"baseline": []}, TRAIN), (COPIES, 0)])
def test_without_copies_or_their_count_there_is_no_section(tmp_path, hits, searched):
    run = write(tmp_path, hits, searched=searched)
    assert format_collapse(run)[1] == [] and "## Copies of one image" not in render(run)

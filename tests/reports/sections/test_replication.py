"""Copies by every attack: calibrated and published thresholds with their nulls, and how copies grow with samples."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest

from leakbench.api import ReplicationEvidence
from leakbench.metrics.evaluate.replication import evaluate_replication
from leakbench.reports.figures import growth
from leakbench.reports.figures.canvas import MissingData, styled
from leakbench.reports.reading.replication import list_copy_results
from leakbench.reports.reading.selection import copy_attacks
from leakbench.reports.reading.tradeoff_text import format_tradeoff
from leakbench.reports.sections.replication import (
    format_baseline_copies,
    format_copy_excess,
    format_transforms,
    guided_verdicts,
    list_suspects,
    says_more_than_tradeoff,
)
from leakbench.reports.site.report import render
from leakbench.results.record import Record
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder

POINTS = {"baseline": ("baseline", 0.2), "cpsample alpha=0.5": ("defense", 0.02), "untrained": ("control", 0.0)}
# name: features, published threshold, whether it draws images of its own
ATTACKS = {
    "carlini_pixel": ("pixels, relative", 0.1, False),
    "memorisation_ratio": ("pixels, ratio", -0.34, False),
    "nearest_copy_features": ("classifier", None, False),
    "nearest_copy_pixels": ("pixels", None, False),
    "nearest_copy_sscd": ("sscd", 0.6, False),
    "side": ("pixels, guided", None, True),
}
TRANSFORMED = {
    "transformed_copy": ("transformed-pixels", None, False),
    "transformed_copy_features": ("transformed-classifier", None, False),
}
SAMPLES, TRAIN = 400, 120


def evidence(point, attack, seed, share):
    draw = np.random.default_rng([zlib.crc32(word.encode()) for word in (point, attack)] + [seed])
    null = np.random.default_rng([zlib.crc32(attack.encode()), seed])

    def similar(share, n=SAMPLES):
        return np.where(draw.random(n) < share, draw.normal(0.5, 0.02, n), draw.normal(-0.6, 0.1, n))

    # the published threshold of the ratio lies among real images
    centre = -0.35 if attack == "memorisation_ratio" else -0.6
    own = (similar(share / 4), draw.integers(0, TRAIN, SAMPLES)) if attack == "side" else (None, None)
    told = np.array([0, 1, 2, 9])[np.arange(SAMPLES) % 4] if attack in TRANSFORMED else None
    return ReplicationEvidence(
        *(
            similar(share),
            draw.integers(0, TRAIN, SAMPLES),
            null.normal(centre, 0.1, 300),
            null.normal(centre, 0.1, 300),
        ),
        *own,
        transforms=told,
    )


def write(path, seeds=(0, 1), attacks=tuple(ATTACKS)):
    plan = [{"point": name, "defense": name.split()[0], "role": role} for name, (role, _) in POINTS.items()]
    path.mkdir(parents=True, exist_ok=True)
    (path / "plan.json").write_text(json.dumps({"suite": "told", "seeds": list(seeds), "points": plan}))
    for name, (_, share) in POINTS.items():
        for seed in seeds:
            for attack in attacks:
                found, (features, published, _) = evidence(name, attack, seed, share), (ATTACKS | TRANSFORMED)[attack]
                told = evaluate_replication(found, published)
                record = Record(
                    **{"suite": "told", "dataset": "digits", "model": "mlp", "defense": name.split()[0], "point": name},
                    **{"attack": attack, "family": "replication", "access": "SAMPLES", "seed": seed},
                    **{"metrics": told.metrics, "info": told.info, "defense_params": {}, "features": features},
                )
                save_record(path, record, found.arrays)
    return RunFolder(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write(tmp_path_factory.mktemp("replication"))


def section(run):
    return render(run).split("## Copies by every attack\n")[1].split("\n## ")[0]


def test_the_trade_off_keeps_two_columns(run):
    assert copy_attacks(run) == {"nearest_copy_pixels": "pixels", "nearest_copy_features": "classifier"}
    assert [title for title in format_tradeoff(run)[0] if title.startswith("copies")] == [
        "copies beyond null, pixels",
        "copies beyond null, classifier",
    ]


def test_a_search_under_transforms_stands_for_that_in_pixels_and_its_copies_are_told_apart(tmp_path):
    run = write(tmp_path, seeds=(0,), attacks=("nearest_copy_pixels", "nearest_copy_features", *TRANSFORMED))
    assert copy_attacks(run) == {
        "transformed_copy": "transformed-pixels",
        "nearest_copy_features": "classifier",
    }
    titles, cells = format_transforms(run)
    assert titles[4:] == ["as is", "mirrored", "shifted", "cropped or shrunk", "relit"]
    assert [row[:2] for row in cells] == [[point, attack] for point in POINTS for attack in TRANSFORMED]
    record = next(r for r in run.records if r.attack == "transformed_copy" and r.point == "baseline")
    copied = run.arrays(record)["similarity"] >= record.info["threshold"]
    assert cells[0][5].startswith(f"{100 * np.mean(copied & (np.arange(SAMPLES) % 4 % 2 == 1)):.1f} % [")
    assert cells[0][7].startswith("0.0 % [")
    assert "One that is mirrored and relit counts for\nboth" in section(run)
    alone = write(tmp_path / "alone", seeds=(0,), attacks=("transformed_copy",))
    assert "| cropped or shrunk | relit |" in section(alone)


def test_all_stand_in_the_section_those_of_the_trade_off_first(run):
    (first,) = format_baseline_copies(run)
    assert first[0] == "baseline"
    assert [row[0] for row in first[2]] == [
        *("nearest_copy_pixels", "nearest_copy_features", "carlini_pixel", "memorisation_ratio"),
        *("nearest_copy_sscd", "side"),
    ]
    titles, cells = format_copy_excess(run)
    assert titles[1:] == [row[0] for row in first[2]]
    assert [row[0] for row in cells] == [*POINTS]
    excess = [r.metric("copy_rate_excess") for r in run.records if (r.point, r.attack) == ("baseline", "side")]
    mean, low, high = (100 * f for f in (np.mean([m.value for m in excess]), excess[0].ci_low, excess[0].ci_high))
    low, high = (100 * pick(getattr(m, side) for m in excess) for pick, side in ((min, "ci_low"), (max, "ci_high")))
    assert cells[0][-1] == f"{mean:.1f} % [{low:.1f}, {high:.1f}]"


def test_a_published_threshold_that_real_images_reach_is_named(run):
    named = list_suspects(run)
    assert len(named) == 1
    assert named[0].startswith("memorisation_ratio (4") and named[0].endswith("at baseline; 3 points of 3)")
    assert "never-trained-on images pass for copies" in section(run)


def test_a_threshold_that_separates_nothing_is_remarked(run, tmp_path, monkeypatch):
    """All samples and all real images lie beyond -5."""
    monkeypatch.setitem(ATTACKS, "memorisation_ratio", ("pixels, ratio", -5.0, False))
    useless = section(write(tmp_path, seeds=(0,), attacks=("memorisation_ratio", "nearest_copy_pixels")))
    assert "| 100.0 % [99.1, 100.0] | 100.0 % [98.8, 100.0] |" in useless
    words = " ".join(useless.split())
    assert "its copies are no finding: published, memorisation_ratio (at every point)." in words
    assert "separates nothing" not in section(run)


def test_guidance_finds_more_only_beyond_the_intervals(run):
    found = guided_verdicts(run)
    assert found[0].startswith("**baseline**, side: more images in band high")
    assert found[1] == "**cpsample alpha=0.5**, side: no more images in any band was shown"


def test_the_tables_have_no_gap(run):
    text = section(run)
    assert text.count("\n|---|") == 3 and "\n\n\n\n" not in text


def test_growth_is_that_of_the_records(run):
    data = growth.collect_data(run)
    assert list(data.panels) == ["nearest_copy_pixels", "nearest_copy_features", "carlini_pixel", "memorisation_ratio"]
    grown = data.panels["nearest_copy_pixels"]["baseline"]
    assert list(grown) == [SAMPLES // 8, SAMPLES // 4, SAMPLES // 2, SAMPLES]
    records = [r for r in run.records if (r.point, r.attack) == ("baseline", "nearest_copy_pixels")]
    for size, name in ((SAMPLES // 8, f"unique_copies@samples={SAMPLES // 8}"), (SAMPLES, "unique_copies")):
        assert grown[size].mean == pytest.approx(np.mean([r.metric(name).value for r in records]))
    assert list(data.panels["carlini_pixel"]) == ["baseline", "cpsample alpha=0.5"]


def test_growth_is_drawn_without_overlap(run):
    with styled():
        figure = growth.plot(growth.collect_data(run))
        figure.draw_without_rendering()
    boxes = [ax.get_tightbbox() for ax in figure.axes] + [figure.legends[0].get_window_extent()]
    assert all(not a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["baseline", "cpsample alpha=0.5"]
    assert {tick.get_text() for tick in figure.axes[0].get_xticklabels()} == {"50", "100", "200", "400"}


def test_two_nearest_copies_need_no_section(tmp_path):
    few = write(tmp_path, seeds=(0,), attacks=("nearest_copy_pixels", "nearest_copy_features"))
    assert not says_more_than_tradeoff(few) and "## Copies by every attack" not in render(few)
    assert [row.attack for row in list_copy_results(few, few.plan.points[0])] == [
        "nearest_copy_pixels",
        "nearest_copy_features",
    ]


def test_without_counts_there_is_no_figure(tmp_path, tell_run):
    run = tell_run(tmp_path, [{"point": "baseline", "defense": "baseline", "role": "baseline"}])
    with pytest.raises(MissingData, match="fewer samples"):
        growth.collect_data(run)

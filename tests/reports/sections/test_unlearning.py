"""Attacks on unlearning are told beside the retrained model, and nothing is called left over that is not beyond it."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest

from leakbench.api import PairedScores, RecoveryCurve, UnlearningEvidence, UnlearningScores
from leakbench.metrics.evaluate.unlearning import evaluate_unlearning, flatten_evidence
from leakbench.reports.figures import relearning
from leakbench.reports.figures.canvas import MissingData, styled
from leakbench.reports.reading.unlearning import list_curves, list_statistics
from leakbench.reports.sections.unlearning import format_curves, format_statistics, verdicts
from leakbench.reports.site.report import render
from leakbench.results.record import Metric, Record
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import auc, delong_pair, holm

STEPS = np.array([0, 1, 2, 4, 8, 16])
# how much is left of the images, and how fast the label comes back, in steps to half of its level
POINTS = {
    "baseline": ("baseline", 1.5, 0.1),
    "erasediff steps=30": ("defense", 1.2, 1.0),
    "erasediff steps=300": ("defense", 0.0, 8.0),
    "retrain": ("defense", 0.0, 8.0),
}


def rng(*words):
    return np.random.default_rng([zlib.crc32(word.encode()) for word in words])


def contrast(name, left, seed):
    draw, null = rng(name, f"seed {seed}"), rng("null", f"seed {seed}")
    retrained = UnlearningScores(null.normal(0, 1, 60), null.normal(0, 1, 50), null.normal(1, 1, 60))
    shift = (retrained.forget + left, retrained.unseen, retrained.retained)
    ours = UnlearningScores(*(scores + 0.3 * draw.normal(0, 1, scores.size) for scores in shift))
    return PairedScores(ours, retrained, null.normal(0, 1, 500))


def curve(name, half, seed, samples=80):
    draw = rng(name, f"seed {seed}", "curve")

    def risen(half, draw):
        mean = 0.9 * STEPS / (STEPS + half)
        return np.clip(mean[:, None] + 0.1 * draw.normal(0, 1, (len(STEPS), samples)), 0, 1)

    return RecoveryCurve(STEPS, risen(half, draw), risen(8.0, rng("null", f"seed {seed}")), np.full(40, 0.9))


def record(point, attack, access, seed, family="unlearning", **more):
    who = {"suite": "told", "dataset": "digits", "model": "mlp", "defense": point.split()[0], "point": point}
    return Record(**who, defense_params={}, attack=attack, family=family, access=access, seed=seed, **more)


def write(path, seeds=(0, 1)):
    path.mkdir(parents=True, exist_ok=True)
    plan = [{"point": name, "defense": name.split()[0], "role": role} for name, (role, *_) in POINTS.items()]
    (path / "plan.json").write_text(json.dumps({"suite": "told", "seeds": list(seeds), "points": plan}))
    for name, (_, left, half) in POINTS.items():
        for seed in seeds:
            images = UnlearningEvidence({"forget": contrast(name, left, seed)})
            labels = UnlearningEvidence(
                curves={k: curve(name + k, half, seed) for k in ("relearn", "relearn_retained")}
            )
            for attack, evidence, levels in (
                ("forget_membership", images, ("DENOISER", "WEIGHTS")),
                ("relearning", labels, ("WEIGHTS",)),
            ):
                found = evaluate_unlearning(evidence)
                facts = {"metrics": found.metrics, "info": found.info, "flags": sorted(found.flags)}
                for access in levels:
                    save_record(path, record(name, attack, access, seed, **facts), flatten_evidence(evidence))
            probability = Metric(name="forget_probability", value=1 / (1 + half), n=100)
            save_record(path, record(name, "quality", "SAMPLES", seed, "quality", metrics=[probability]), {})
    return RunFolder(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write(tmp_path_factory.mktemp("unlearning"))


def test_one_computation_is_one_row(run):
    found = list_statistics(run)
    assert [(row.point.name, row.access) for row in found] == [(name, "DENOISER") for name in POINTS]
    assert [row.name for row in list_curves(run)] == ["relearn", "relearn_retained"] * len(POINTS)


def test_p_values_are_the_largest_of_the_seeds_and_adjusted(run):
    raw = []
    for name, (_, left, _) in POINTS.items():
        sides = [contrast(name, left, seed) for seed in (0, 1)]
        scores = [(s.model.forget, s.model.unseen, s.retrained.forget, s.retrained.unseen) for s in sides]
        raw.append(max(delong_pair(*four).p_value for four in scores))
    assert [row.p for row in list_statistics(run)] == pytest.approx(holm(raw))


def test_the_table_of_images(run):
    titles, cells = format_statistics(list_statistics(run))
    assert titles[:5] == ["point", "attack", "needs", "statistic", "AUC against never-seen images"]
    first = [contrast("baseline", 1.5, seed).model for seed in (0, 1)]
    each = [auc(scores.forget, scores.unseen) for scores in first]
    mean, low, high = np.mean([e.value for e in each]), min(e.low for e in each), max(e.high for e in each)
    assert cells[0][:5] == [
        "baseline",
        "forget_membership",
        "DENOISER",
        "denoising loss",
        f"{mean:.2f} [{low:.2f}, {high:.2f}]",
    ]


def test_only_what_lies_beyond_the_retrained_model_is_left(run):
    images, labels = verdicts(list_statistics(run)), verdicts(list_curves(run))
    assert images == [
        "**forget_membership**, denoising loss (DENOISER): more than the retrained model gives away at "
        "erasediff steps=30; nothing beyond it shown at erasediff steps=300 and retrain"
    ]
    assert labels[0].startswith("**relearning**, training on few forgotten images (WEIGHTS): more than the retrained")
    assert "erasediff steps=30; nothing beyond it shown at erasediff steps=300 and retrain" in labels[0]


def test_steps_that_were_not_enough_are_said(tmp_path):
    run = write(tmp_path)
    path = next(path for path in (tmp_path / "records").glob("retrain__relearning*seed1.json"))
    told = json.loads(path.read_text())
    del told["checksum"]
    for metric in told["metrics"]:
        if metric["name"] == "relearn_steps":
            metric |= {"value": None, "ci_low": None, "ci_high": None}
    path.write_text(json.dumps(told))
    titles, cells = format_curves(list_curves(RunFolder(run.path)))
    row = dict(zip(titles, next(row for row in cells if row[0] == "retrain"), strict=True))
    assert row["steps"] == "8 / not in 16"


def test_the_report_has_the_section_and_no_gap_in_its_tables(run):
    text = render(run).split("## Attacks on unlearning\n")[1].split("\n## ")[0]
    assert text.count("\n| point |") == 2 and "\n\n\n\n" not in text
    assert "| relearning | training on retained images alone |" in text


def test_the_figure_shows_each_defense_at_its_least_probability(run):
    data = relearning.collect_data(run)
    assert [panel.title for panel in data.panels] == [
        "training on few forgotten images",
        "training on retained images alone",
    ]
    assert list(data.panels[0].lines) == ["baseline", "erasediff steps=300", "retrain"]
    assert len(data.panels[0].retrained) == 1  # one yardstick for all
    level = data.panels[0].lines["baseline"].means[0]
    each = [curve("baselinerelearn", 0.1, seed).model[0].mean() for seed in (0, 1)]
    assert level.mean == pytest.approx(np.mean(each))
    with styled():
        figure = relearning.plot(data)
        figure.draw_without_rendering()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *("half of real images", "retrained without it", "baseline", "erasediff steps=300", "retrain")
    ]


def test_nothing_without_such_attacks(tmp_path, tell_run):
    run = tell_run(tmp_path, [{"point": "baseline", "defense": "baseline", "role": "baseline"}])
    assert "## Attacks on unlearning" not in render(run)
    with pytest.raises(MissingData, match="curves"):
        relearning.collect_data(run)

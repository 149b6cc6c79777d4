"""The [forget] table: which images it names, who is told, whom it trains again, and what is refused."""

import numpy as np
import pytest
import torch

from leakbench.api import CANARY
from leakbench.data import SplitSpec, draw_split
from leakbench.data.digits import digits
from leakbench.data.forget_set import ForgetTable, forget_rows
from leakbench.measurement.auxiliary import trainable_rows
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.keys import fit_key
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.measurement.tasks import build_task
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

FORGET = """
[forget]
label = 3

[[defense]]
name = "finetune"
base = "baseline"
steps = 2
"""


@pytest.fixture(scope="module")
def drawn():
    data = digits("")
    return data, draw_split(data, SplitSpec(members=60, nonmembers=60, calibration_in=20, calibration_out=20))


def test_a_label_names_all_its_images_but_those_that_nobody_trains_on(drawn):
    data, split = drawn
    rows, pool = forget_rows(data, split, ForgetTable(label=3), "here"), trainable_rows(split)
    assert rows.tolist() == [row for row in pool if data.labels[row] == 3]
    assert 0 < np.isin(split.train, rows).sum() < len(rows)


def test_a_share_is_drawn_from_reported_and_calibration_images_alike_and_follows_its_seed(drawn):
    data, split = drawn
    rows = forget_rows(data, split, ForgetTable(share=0.25), "here")
    parts = ("member", "calibration_in", "calibration_out", "nonmember", "reference")
    assert [np.isin(split.parts[part], rows).sum() for part in parts] == [15, 5, 5, 15, 0]
    assert rows.tolist() == forget_rows(data, split, ForgetTable(share=0.25), "here").tolist()
    assert rows.tolist() != forget_rows(data, split, ForgetTable(share=0.25, seed=1), "here").tolist()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"label": 11}, "forget.label = 11: names no training image"),
        ({"share": 0.001}, "forget.share = 0.001: names no training image"),
        ({"share": 0.999}, "forget.share = 0.999: names every training image"),
    ],
)
def test_forgetting_nothing_or_everything_is_refused(drawn, table, words):
    with pytest.raises(UsageError, match=words) as error:
        forget_rows(*drawn, ForgetTable(**table), "suite 's'")
    assert str(error.value).count("\n") == 0 and "labels 0, 1, 2" in str(error.value)


@pytest.mark.parametrize("table", ["", "label = 3\nshare = 0.1", "label = -1", "share = 0.0", "share = 1.0"])
def test_a_table_that_cannot_be_meant_is_one_line(tiny, tiny_text, table):
    tiny.write_text(tiny_text + f"\n[forget]\n{table}\n")
    with pytest.raises(UsageError, match="forget"):
        load(str(tiny))


def bench_of(tiny, text, tmp_path, *overrides):
    tiny.write_text(text)
    return ReleaseBuilder(RunInputs(load(str(tiny), overrides), RunConfig(tmp_path / "run", tmp_path / "cache")))


def test_only_those_who_forget_are_told_and_trained_again(tiny, tiny_text, tmp_path):
    builder = bench_of(tiny, tiny_text + FORGET, tmp_path)
    other = bench_of(tiny, tiny_text + FORGET, tmp_path, "forget.label=4")
    chain = next(point.chain for point in builder.inputs.suite.points if point.id == "finetune")
    assert fit_key(builder.inputs, chain[:1], 0) == fit_key(other.inputs, chain[:1], 0)
    assert fit_key(builder.inputs, chain, 0) != fit_key(other.inputs, chain, 0)
    rows = builder.inputs.split.train
    mask = build_task(builder.inputs, chain, 0).forget
    assert torch.equal(mask, torch.from_numpy(builder.inputs.data.labels[rows]) == 3)
    assert builder.task(chain[:1], 0).forget is None


def test_a_model_trained_on_other_images_forgets_those_of_the_class_that_it_was_trained_on(tiny, tiny_text, tmp_path):
    """A canary model that forgot the target's images alone would be taught to keep half of the class."""
    builder = bench_of(tiny, tiny_text + FORGET, tmp_path)
    chain = next(point.chain for point in builder.inputs.suite.points if point.id == "finetune")
    rows, labels = builder.inputs.training_rows(CANARY, 0), builder.inputs.data.labels
    mask = build_task(builder.inputs, chain, 0, CANARY).forget
    assert torch.equal(mask, torch.from_numpy(labels[rows]) == 3)
    assert not np.isin(rows[mask.numpy()], builder.inputs.split.train).all()


def test_what_stands_above_forgetting_is_not_handed_the_forgotten(tiny, tiny_text, tmp_path):
    """A classifier of CPSample that were trained on them would ship what had been forgotten."""
    above = '\n[[defense]]\nid = "both"\nname = "cpsample"\nbase = "finetune"\nsteps = 2\n'
    builder = bench_of(tiny, tiny_text + FORGET + above, tmp_path)
    other = bench_of(tiny, tiny_text + FORGET + above, tmp_path, "forget.label=4")
    chains = {point.id: point.chain for point in builder.inputs.suite.points}
    whole, rest = (builder.task(chains[name], 0) for name in ("cpsample", "both"))
    assert len(whole.near_duplicate_groups) == len(whole.images) == len(builder.inputs.split.train)
    assert torch.equal(rest.labels, whole.labels[whole.labels != 3]) and rest.forget is None
    assert torch.equal(rest.images[:], whole.images[whole.labels != 3])
    assert len(rest.near_duplicate_groups) == len(rest.images)
    assert fit_key(builder.inputs, chains["both"], 0) != fit_key(other.inputs, chains["both"], 0)


def test_a_task_of_some_images_keeps_what_belongs_to_them(tiny, tiny_text, tmp_path):
    builder = bench_of(tiny, tiny_text, tmp_path)
    task = builder.task(builder.inputs.suite.points[0].chain, 0)
    keep = task.labels != 3
    kept = task.subset(keep)
    assert torch.equal(kept.images[:], task.images[keep]) and torch.equal(
        kept.near_duplicate_groups, task.near_duplicate_groups[keep]
    )
    assert not (kept.labels == 3).any() and len(kept.attribute) == len(kept.images) < len(task.images)
    assert torch.equal(kept.heldout[:], task.heldout[:])


def test_groups_of_near_duplicates_are_looked_for_when_somebody_asks_and_once(tiny, tiny_text, tmp_path, monkeypatch):
    asked = []
    found = lambda images, radius: asked.append((len(images), radius)) or torch.arange(len(images))  # noqa: E731
    monkeypatch.setattr("leakbench.measurement.releases.near_duplicate_groups", found)
    builder = bench_of(tiny, tiny_text, tmp_path)
    chain = builder.inputs.suite.points[0].chain
    few = builder.task(chain, 0).subset(torch.arange(5))
    assert not asked
    assert (
        few.near_duplicate_groups.tolist() == [0, 1, 2, 3, 4]
        and len(builder.task(chain, 0).near_duplicate_groups) == asked[0][0]
    )
    split = builder.inputs.split
    assert asked == [(len(split.train), split.duplicates.radius)]

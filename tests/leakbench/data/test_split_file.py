"""Standard splits by an index file, in the form of the public half splits of CIFAR-10."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from leakbench.data import Dataset, SplitSpec, draw_split
from leakbench.data.npz import npz
from leakbench.runtime.errors import UsageError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (400, 8, 8, 1), dtype=np.uint8)
COUNTS = {"members": 40, "nonmembers": 50, "calibration_in": 20, "calibration_out": 30}
ORDER = RANDOM.permutation(300)
LISTS = {"mia_train_idxs": ORDER[:150], "mia_eval_idxs": ORDER[150:], "ratio": 0.5}


@pytest.fixture
def index_file(tmp_path):
    """index_file(**arrays): an index file of 300 positions, with these arrays in their place; None leaves one out."""

    def save(**arrays):
        kept = {key: value for key, value in (LISTS | arrays).items() if value is not None}
        np.savez(tmp_path / "half.npz", **kept)
        return str(tmp_path / "half.npz")

    return save


def spec(file, **counts):
    return SplitSpec(file=file, **(COUNTS | counts))


def test_each_side_is_drawn_from_its_own_list(index_file):
    split = draw_split(Dataset("mine", IMAGES), spec(index_file()))
    parts = {part: set(rows.tolist()) for part, rows in split.parts.items()}
    members, heldout = (set(LISTS[key].tolist()) for key in ("mia_train_idxs", "mia_eval_idxs"))
    assert parts["member"] | parts["calibration_in"] < members
    assert parts["nonmember"] | parts["calibration_out"] < heldout
    assert parts["reference"] == (heldout - parts["nonmember"] - parts["calibration_out"]) | set(range(300, 400))
    assert [len(parts[part]) for part in ("member", "nonmember", "calibration_in", "calibration_out")] == [
        *COUNTS.values()
    ]
    assert not parts["member"] & parts["calibration_in"]
    assert not parts["nonmember"] & parts["calibration_out"]


def test_the_draw_within_the_lists_is_by_the_seed(index_file):
    data, file = Dataset("mine", IMAGES), index_file()
    first, same, other = (draw_split(data, spec(file, seed=seed)) for seed in (1, 1, 2))
    assert first.digest == same.digest != other.digest


def test_positions_are_those_of_the_publishers_order(index_file, tmp_path):
    """A part of the data set in another order: `index` says which image each is."""
    order = np.random.default_rng(1).permutation(300)[:250]
    np.savez(tmp_path / "part.npz", images=IMAGES[order], index=order.astype(np.int32))
    whole = draw_split(Dataset("mine", IMAGES), spec(index_file()))
    part = draw_split(npz(str(tmp_path / "part.npz")), spec(index_file()))
    assert set(order[part.parts["member"]]) < set(LISTS["mia_train_idxs"].tolist())
    assert set(order[part.parts["nonmember"]]) < set(LISTS["mia_eval_idxs"].tolist())
    assert part.digest != whole.digest


def test_the_files_hash_is_in_the_split_the_plan_and_the_report(index_file, leakbench, tmp_path, tiny):
    file = index_file()
    with open(file, "rb") as content:
        digest = hashlib.sha256(content.read()).hexdigest()
    images = np.random.default_rng(2).integers(0, 256, (400, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(400) % 10)
    keep = tiny.read_text().partition('[[defense]]\nname = "cpsample"')[0]
    tiny.write_text(keep.replace("steps = 60", "steps = 2") + '[quality]\nsamples = 20\nfeatures = "pixels"\n')
    settings = ["--set", f"dataset=npz:{tmp_path / 'mine.npz'}", "--set", f"split.file={file}"]
    outcome = leakbench("run", tiny, "--out", tmp_path / "run", "--workers", 1, *settings)
    assert outcome.code == 0, outcome.err
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert plan["split"]["index_file"] == f"half.npz, sha256 {digest}"
    assert plan["settings"]["split"]["file"] == file
    assert leakbench("report", tmp_path / "run", "--format", "md").code == 0
    assert digest in (tmp_path / "run" / "report.md").read_text()


BAD = {
    "no members": ({"mia_train_idxs": None}, ["'mia_train_idxs' is missing", "mia_eval_idxs, ratio"]),
    "no held-out ones": ({"mia_eval_idxs": None, "eval": ORDER}, ["'mia_eval_idxs' is missing", "eval"]),
    "a position too large": ({"mia_eval_idxs": np.arange(200, 401)}, ["mia_eval_idxs", "position 400", "0 to 399"]),
    "a position below zero": ({"mia_train_idxs": np.arange(-1, 50)}, ["mia_train_idxs", "position -1", "0 to 399"]),
    "overlap": ({"mia_train_idxs": np.arange(50), "mia_eval_idxs": np.arange(47, 99)}, ["share 3", "such as 47"]),
    "fractions": ({"mia_train_idxs": np.linspace(0, 1, 9)}, ["mia_train_idxs", "float64", "whole numbers"]),
    "a table": ({"mia_train_idxs": np.zeros((2, 2), int)}, ["mia_train_idxs", "(2, 2)"]),
    "none at all": ({"mia_train_idxs": np.zeros(0, int)}, ["mia_train_idxs", "(0,)"]),
    "pickled": ({"mia_train_idxs": np.array([{}])}, ["mia_train_idxs", "pickled"]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_index_file_is_one_line(index_file, case):
    arrays, words = BAD[case]
    with pytest.raises(UsageError) as caught:
        draw_split(Dataset("mine", IMAGES), spec(index_file(**arrays)))
    message = str(caught.value)
    assert "\n" not in message
    for word in ["half.npz", *words]:
        assert word in message


def test_fewer_than_asked_for_names_the_part(index_file):
    with pytest.raises(UsageError, match=r"part 'member' got 130 of at least 160"):
        draw_split(Dataset("mine", IMAGES), spec(index_file(), members=160))
    with pytest.raises(UsageError, match=r"part 'nonmember' got 120 of at least 140"):
        draw_split(Dataset("mine", IMAGES), spec(index_file(), nonmembers=140))


def test_a_list_that_is_used_up_is_short_by_its_near_duplicates_alone(index_file):
    images = IMAGES.copy()
    earlier, later = np.sort(LISTS["mia_train_idxs"])[[3, 90]]
    images[later] = images[earlier]
    split = draw_split(Dataset("mine", images), spec(index_file(), members=130, nonmembers=120))
    counts = {part: len(rows) for part, rows in split.parts.items()}
    assert (counts["member"], counts["calibration_in"]) == (129, 20)
    assert (counts["nonmember"], counts["calibration_out"]) == (120, 30)
    with pytest.raises(UsageError, match=r"part 'member' got 129 of at least 130"):
        draw_split(Dataset("mine", images), spec(index_file(), members=131))


def test_a_position_at_two_images_is_named(index_file):
    """As where test images are numbered from zero again."""
    data = Dataset("mine", IMAGES, index=np.concatenate([np.arange(300), np.arange(100)]))
    with pytest.raises(UsageError, match=r"mine: index: position 0, which .*half\.npz names, stands at 2 images"):
        draw_split(data, spec(index_file()))


def test_a_missing_index_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"\[split\] file = .*none\.npz': no such file"):
        draw_split(Dataset("mine", IMAGES), spec(str(tmp_path / "none.npz")))


def test_the_file_counts_for_more_than_the_data_sets_own_words(index_file):
    words = np.array(["member"] * 200 + ["nonmember"] * 200)
    split = draw_split(Dataset("mine", IMAGES, split=words), spec(index_file()))
    assert len(split.parts["member"]) == COUNTS["members"]
    assert len(split.parts["reference"]) > 100

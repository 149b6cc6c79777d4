"""Packing a run: the same bytes each time, no picture, and what a check needs."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile

import numpy as np
import pytest

from leakbench import UsageError, submit
from leakbench.interface.submission.packed_arrays import holds_own_images, pack_arrays, select_arrays

from .conftest import read_zip


def test_the_same_run_gives_the_same_bytes_and_is_not_changed(finished, submitted, tmp_path):
    before = {path: path.read_bytes() for path in finished.out.rglob("*") if path.is_file()}
    assert submit(finished.out, tmp_path / "again.zip").read_bytes() == submitted.read_bytes()
    assert {path: path.read_bytes() for path in finished.out.rglob("*") if path.is_file()} == before


def test_the_manifest_has_the_hash_of_every_other_file(submitted):
    files = read_zip(submitted)
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest["files"] == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    assert manifest["suite"] == "tiny"
    assert {name.split("/")[0] for name in files} == {"plan.json", "records", "arrays"}


def test_no_picture_is_packed_and_every_score_is(finished, submitted):
    files = read_zip(submitted)
    for path in (finished.out / "arrays").glob("*.npz"):
        with np.load(path) as kept, np.load(io.BytesIO(files[f"arrays/{path.name}"])) as packed:
            assert not {name for name in packed.files if name.startswith("pair_")}
            assert all(packed[name].ndim < 3 for name in packed.files)
            for name in packed.files:
                np.testing.assert_array_equal(packed[name], kept[name])
            assert {name for name in kept.files if "scores" in name or "similarity" in name} - {
                "pair_similarity"
            } <= set(packed.files)


def test_neither_a_picture_of_the_data_set_nor_its_hash_is_in_it(submitted):
    from leakbench.data.digits import digits

    packed = b"".join(read_zip(submitted).values())
    for image in digits("").images:
        bytes_of_it = image.tobytes()
        floats = (image / 127.5 - 1).astype(np.float32)
        secrets = [bytes_of_it, floats.tobytes(), floats.astype(np.float64).tobytes()]
        hashes = [hashlib.new(name, data).hexdigest().encode() for name in ("md5", "sha256") for data in secrets]
        assert not [one for one in (*secrets, *hashes) if one in packed]


def test_own_images_lose_their_numbers_and_keep_who_is_who():
    arrays = {
        "member_rows": np.array([70, 900, 31]),
        "nonmember_rows": np.array([5, 4000]),
        "member_groups": np.array([123456, 7, 123456]),
        "nonmember_groups": np.array([8, 8]),
        "member_scores": np.array([0.1, 0.2, 0.3]),
        "pair_nearest": np.zeros((12, 8, 8, 1), np.uint8),
    }
    kept = select_arrays("membership", arrays, holds_own_images("npz:patients.npz"))
    assert {name: array.tolist() for name, array in kept.items()} == {
        "member_rows": [2, 3, 1],
        "nonmember_rows": [0, 4],
        "member_groups": [2, 0, 2],
        "nonmember_groups": [1, 1],
        "member_scores": [0.1, 0.2, 0.3],
    }
    public = select_arrays("membership", arrays, holds_own_images("digits"))
    assert public["member_rows"].tolist() == [70, 900, 31]


def test_numpy_reads_packed_arrays_and_their_bytes_hold_no_date():
    arrays = {"b": np.arange(3.0), "a": np.array(True), "c": np.asfortranarray(np.arange(6).reshape(2, 3))}
    data = pack_arrays(arrays)
    with np.load(io.BytesIO(data), allow_pickle=False) as read:
        assert {name: read[name].tolist() for name in read.files} == {k: v.tolist() for k, v in arrays.items()}
    assert {one.date_time for one in zipfile.ZipFile(io.BytesIO(data)).infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_run_without_records_or_with_damaged_arrays_is_refused(again, tmp_path):
    path = next((again.out / "arrays").iterdir())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UsageError, match=f"the arrays of {path.stem} are missing or damaged"):
        submit(again.out, tmp_path / "run.zip")
    for record in (again.out / "records").iterdir():
        record.unlink()
    with pytest.raises(UsageError, match="has no records"):
        submit(again.out, tmp_path / "run.zip")
    with pytest.raises(UsageError, match=r"no plan\.json"):
        submit(tmp_path)
    assert not (tmp_path / "run.zip").exists()


def test_the_command_says_what_it_wrote(leakbench, finished, submitted, tmp_path):
    outcome = leakbench("submit", finished.out, "--out", tmp_path / "run.zip")
    assert outcome.code == 0
    assert str(tmp_path / "run.zip") in outcome.out and "your own" not in outcome.out
    assert (tmp_path / "run.zip").read_bytes() == submitted.read_bytes()


def test_the_command_names_cells_that_are_missing(leakbench, again, tmp_path):
    whole = leakbench("submit", again.out, "--out", tmp_path / "run.zip")
    assert whole.code == 0 and "incomplete" not in whole.err
    (again.out / "records" / "baseline__loss__DENOISER__seed0.json").unlink()
    outcome = leakbench("submit", again.out, "--out", tmp_path / "run.zip")
    assert outcome.code == 0 and "cells of its plan without a record: 1" in outcome.err
    assert "baseline, loss at DENOISER, seed 0" in outcome.err

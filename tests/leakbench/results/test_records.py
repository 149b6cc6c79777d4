"""Records: a strict schema, arrays bound by their hash, no pickle, and an identity without timings."""

from __future__ import annotations

import hashlib
import json
import unicodedata
import zipfile

import numpy as np
import pytest
from pydantic import ValidationError

from leakbench.results.record import Metric, Record, RunInfo
from leakbench.results.record_files import read_record, save_record
from leakbench.results.run_folder import RunFolder
from leakbench.runtime.errors import UsageError

RECORD = Record(
    suite="s",
    dataset="digits",
    model="mlp-8x1",
    defense="cpsample",
    point="cpsample alpha=0.5",
    defense_params={"alpha": 0.5, "baseline.steps": 10},
    attack="pia",
    family="membership",
    attack_params={"t": 200},
    access="DENOISER",
    seed=3,
    metrics=[Metric(name="auc", value=0.6, ci_low=0.5, ci_high=0.7, n=40), Metric(name="kid", value=None, n=0)],
    queries=2.0,
    realised_fpr={"tpr@fpr=0.1": 0.1},
    flags=["few-negatives"],
    guarantee={"epsilon": 8.0},
    info={"gate_rate_by_t": {"0": 0.5}},
    inputs="abc",
    run={"timings": {"attack": 1.5}},
)
ARRAYS = {"member_scores": np.array([0.1, -np.inf, np.nan]), "nearest": np.arange(3)}


def test_a_record_survives_the_disk(tmp_path):
    saved = save_record(tmp_path, RECORD, {})
    assert saved == RECORD == read_record(tmp_path / "records" / "cpsample_alpha=0.5__pia__DENOISER__seed3.json")


ALIKE = [  # records that a reader tells apart, though their names might not
    ("randaugment kind=flip+crop", "pia"),
    ("randaugment kind=flip crop", "pia"),
    ("randaugment kind=flip/crop", "pia"),
    ("dp_sgd clip=1", "pia"),
    ("dp sgd_clip=1", "pia"),
    ("dp_sgd_clip=1", "pia"),
    ("Dp_sgd clip=1", "pia"),
    ("baseline", "mine__pia"),
    ("baseline__mine", "pia"),
    ("baseline_", "mine__pia"),
    ("dp_sgd", "pia"),
    ("dp sgd", "pia"),
    ("dp_sgd", "my_pia"),
    ("dp_sgd", "my pia"),
    ("dp_sgd", "my+pia"),
    ("dp_sgd" + "x" * 300, "pia"),
    ("dp_sgd" + "x" * 301, "pia"),
    ("e\u0301", "pia"),
    ("\u00e9", "pia"),
]


def test_no_two_records_have_one_name(tmp_path):
    """As a file system sees it that ignores case and the way in which an accent is written."""
    records = [RECORD.model_copy(update={"point": point, "attack": attack}) for point, attack in ALIKE]
    names = {unicodedata.normalize("NFC", record.stem).casefold() for record in records}
    assert len(names) == len(ALIKE)
    for record in records:
        assert len(f"{record.stem}.json.tmp".encode()) <= 255
        save_record(tmp_path, record, {"x": np.arange(3)})
    assert len(list((tmp_path / "records").iterdir())) == len(list((tmp_path / "arrays").iterdir())) == len(ALIKE)


@pytest.mark.parametrize("point", ["baseline", "dp_sgd", "cpsample alpha=0.25", "cpsample scale=3.0 alpha=1e-05"])
def test_a_name_that_no_other_record_has_is_the_readable_one(point):
    record = RECORD.model_copy(update={"point": point})
    assert record.stem == record.readable_name == f"{point.replace(' ', '_')}__pia__DENOISER__seed3"


def test_arrays_under_a_name_of_older_versions_are_found_by_the_record_that_they_belong_to(tmp_path):
    record, other = (RECORD.model_copy(update={"point": f"dp_sgd clip=1{c}2"}) for c in "+/")
    saved = save_record(tmp_path, record, ARRAYS)
    (tmp_path / "arrays" / f"{record.stem}.npz").rename(tmp_path / "arrays" / f"{record.readable_name}.npz")
    assert set(RunFolder(tmp_path).arrays(saved)) == set(ARRAYS)
    assert other.readable_name == record.readable_name
    assert RunFolder(tmp_path).arrays(other.model_copy(update={"arrays": "0" * 64})) == {}


def test_arrays_are_bound_by_their_hash_and_come_back_bit_for_bit(tmp_path):
    saved = save_record(tmp_path, RECORD, ARRAYS)
    path = tmp_path / "arrays" / f"{RECORD.stem}.npz"
    assert saved.arrays == hashlib.sha256(path.read_bytes()).hexdigest()
    back = RunFolder(tmp_path).arrays(saved)
    assert {name: array.tobytes() for name, array in back.items()} == {n: a.tobytes() for n, a in ARRAYS.items()}
    assert RunFolder(tmp_path).arrays(RECORD) == {}


def test_the_same_arrays_give_the_same_bytes(tmp_path):
    first, second = (save_record(tmp_path / name, RECORD, ARRAYS) for name in ("a", "b"))
    assert first.arrays == second.arrays


def test_objects_are_refused_and_not_pickled(tmp_path):
    with pytest.raises(TypeError, match="'bad' holds Python objects"):
        save_record(tmp_path, RECORD, {"bad": np.array([{}], dtype=object)})
    assert list(tmp_path.iterdir()) == []


def test_the_digest_leaves_out_the_run_and_nothing_else():
    other = {
        "suite": "x",
        "dataset": "x",
        "model": "x",
        "defense": "x",
        "point": "x",
        "defense_params": {},
        "attack": "x",
        "adaptive": True,
        "family": "quality",
        "attack_params": {},
        "features": "x",
        "access": "API",
        "seed": 4,
        "metrics": [],
        "queries": 9.0,
        "realised_fpr": {},
        "flags": [],
        "guarantee": {},
        "info": {},
        "inputs": "x",
        "arrays": "x",
    }
    assert set(other) == set(Record.model_fields) - {"run", "schema_version"}
    assert RECORD.model_copy(update={"run": RunInfo()}).digest == RECORD.digest
    assert len({RECORD.model_copy(update={key: value}).digest for key, value in other.items()} | {RECORD.digest}) == 22


@pytest.mark.parametrize("change", [{"schema_version": 3}, {"surplus": 1}, {"access": "ROOT"}, {"seed": "x"}])
def test_a_record_of_another_schema_is_refused(change):
    with pytest.raises(ValidationError):
        Record.model_validate(RECORD.model_dump(mode="json") | change)


@pytest.mark.parametrize("text, named", [("{", "Invalid JSON"), ("{}", "suite: Field required"), ("", "Invalid JSON")])
def test_a_damaged_record_is_one_line_that_names_it(tmp_path, text, named):
    (tmp_path / "records").mkdir()
    (tmp_path / "plan.json").write_text('{"points": []}')
    path = tmp_path / "records" / "one.json"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        _ = RunFolder(tmp_path).records
    assert str(path) in str(caught.value)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_records_come_in_the_order_of_the_plan(tmp_path):
    points = ["z", "a", "m"]
    (tmp_path / "plan.json").write_text(json.dumps({"points": [{"point": p} for p in points]}))
    for point in sorted(points):
        for seed in (1, 0):
            save_record(tmp_path, RECORD.model_copy(update={"point": point, "seed": seed}), {})
    assert [(r.point, r.seed) for r in RunFolder(tmp_path).records] == [(p, s) for p in points for s in (0, 1)]


def test_no_file_of_a_run_holds_a_pickle(finished):
    for path in [*finished.out.rglob("*"), *finished.cache.rglob("*")]:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as packed:
                for name in packed.namelist():
                    head = packed.read(name)[:128]
                    assert head.startswith(b"\x93NUMPY")
                    assert b"'|O'" not in head
        elif path.is_file() and (path.parent.name in ("locks", "used") or path.name == ".lock"):
            assert path.read_bytes() == b""
        elif path.is_file():
            assert path.suffix in {".json", ".csv", ".md", ".png", ".safetensors"} or path.name == ".reported"
            assert not path.read_bytes().startswith(b"\x80")  # the pickle protocol's mark


def test_a_record_names_no_folder_of_this_machine(finished):
    for path in (finished.out / "records").iterdir():
        assert str(finished.out.parent) not in path.read_text()
        assert str(finished.cache) not in path.read_text()


def test_a_record_of_the_first_schema_is_read_with_its_guarantee(tmp_path):
    old = RECORD.model_dump(mode="json") | {"schema_version": 1, "info": {"canary_claims": {"epsilon": 8.0}}}
    old["claims"] = old.pop("guarantee")
    old["run"] = {"timings": {"attack": 1.5}, "environment": {}, "calls": {}}
    del old["adaptive"]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))
    assert read_record(path) == RECORD.model_copy(update={"info": {"canary_guarantee": {"epsilon": 8.0}}})

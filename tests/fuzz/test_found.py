"""Cases that random input has found: each was a traceback, a wrong exit code or a raw control character once."""

from __future__ import annotations

import io
import json
import shutil
import struct
import zipfile

import numpy as np
import pytest
import torch

from leakbench import UsageError
from leakbench.data.array_headers import read_npy_header, read_npz_header
from leakbench.data.folder import folder
from leakbench.data.npy import npy
from leakbench.data.npz import npz
from leakbench.defenses.pipeline import Pipeline
from leakbench.interface.score_file import read_score_file
from leakbench.models.pretrained.build import build
from leakbench.models.pretrained.inspect import Options
from leakbench.models.pretrained.settings import read_header_spec
from leakbench.reports.claims.support import list_supported
from leakbench.results.run_folder import RunFolder, open_run
from leakbench.runtime.errors import LONGEST_LINE, format_error
from leakbench.runtime.npz_file import read_npz
from leakbench.runtime.paths import user_path
from leakbench.suite.load import load


def npy_file(header, numbers=b""):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("latin-1") + numbers


HEADERS = {
    "open bracket": "{'descr': '|u1', 'fortran_order': False, 'shape': (",
    "open text": "{'descr': '|u1', '''fortran_order': False, 'shape': (2, 3, 3)}",
    "no header": "z'descr': '|u1'}",
    "too many": "{'descr': '|u1', 'fortran_order': False, 'shape': (8, 1000000000000000000000000000000)}",
    "negative": "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 4, 4)}",
    "no base type": "{'descr': ('|u1', ), 'fortran_order': False, 'shape': (2, 2, 2)}",
    "no memory": "{'descr': '<f16', 'fortran_order': False, 'shape': (17179869184,)}",
}


@pytest.mark.parametrize("what", HEADERS)
def test_headers_that_are_none_are_refused_with_the_files_name(tmp_path, what):
    data, path = npy_file(HEADERS[what]), tmp_path / "a.npy"
    path.write_bytes(data)
    for read in (npy, read_npy_header):
        with pytest.raises(UsageError, match=r"a\.npy: "):
            read(str(path))
    (tmp_path / "labels").mkdir()
    np.save(tmp_path / "labels" / "images.npy", np.zeros((4, 4, 4), np.uint8))
    (tmp_path / "labels" / "labels.npy").write_bytes(data)
    for read in (npy, read_npy_header):
        with pytest.raises(UsageError, match=r"cannot be read"):
            read(str(tmp_path / "labels"))
    packed = tmp_path / "a.npz"
    for name, read in (("images", npz), ("member_scores", read_score_file)):
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(f"{name}.npy", data)
        with pytest.raises(UsageError, match=r"a\.npz: "):
            read(str(packed) if read is npz else packed)


def test_an_archive_of_a_later_version_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, images=np.zeros((4, 4, 4), np.uint8))
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 6] = 174  # the version that is needed to unpack
    path.write_bytes(data)
    for read in (npz, read_npz_header):
        with pytest.raises(UsageError, match=r"a\.npz: "):
            read(str(path))


@pytest.mark.parametrize("wrong", [{"t": [1, 2], "member": [0.5]}, {"t": 5, "member": [1]}, {"x": 1}, [1], "text", 7])
def test_gate_rates_that_are_none_are_named(again, wrong):
    from leakbench.reports.figures.gate import collect_data

    path = again.out / "records" / "cpsample_alpha=0.25__quality__SAMPLES__seed0.json"
    record = json.loads(path.read_text())
    record.pop("checksum")
    record["info"] = {"defense": {"gate_rate_by_t": wrong}}
    path.write_text(json.dumps(record))
    with pytest.raises(UsageError, match=r"cpsample_alpha=0\.25__quality.*info: gate_rate_by_t: should hold a number"):
        collect_data(RunFolder(again.out))


def test_arrays_of_results_that_are_damaged_are_refused(again):
    run = RunFolder(again.out)
    record = next(one for one in run.records if one.attack == "loss")
    path = again.out / "arrays" / f"{record.stem}.npz"
    for damage in (b"", b"PK\x05\x06", path.read_bytes()[:300], npy_file(HEADERS["open bracket"])):
        path.write_bytes(damage)
        with pytest.raises(UsageError, match=path.name):
            RunFolder(again.out).arrays(record)


def test_pickled_arrays_of_results_are_never_loaded(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.array([{}], dtype=object))
    with pytest.raises(UsageError, match=r"a\.npz: a: holds pickled objects"):
        read_npz(path)


def test_an_array_that_unpacks_to_a_thousand_times_its_size_is_refused_before_it_is_read(tmp_path, monkeypatch):
    def deflated(size):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("images.npy", b"")
        data = file.getvalue()
        entry = data.index(b"PK\x01\x02")
        return data[: entry + 24] + struct.pack("<I", size) + data[entry + 28 :]  # the size that the directory states

    path = tmp_path / "a.npz"
    path.write_bytes(deflated(2**31))
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("it was unpacked"))
    for read in (lambda: npz(str(path)), lambda: read_npz(path)):
        with pytest.raises(UsageError, match=r"images.npy' is 0 MiB that unpack to 2048 MiB, as in a zip bomb"):
            read()


@pytest.mark.parametrize("name", ["~nobody-here/x", "a\0b", "a" * 300, "\ud800", "a/" * 3000])
def test_paths_that_no_file_can_have_are_refused(tmp_path, tiny, leakbench, name):
    for read in (
        npz,
        npy,
        folder,
        lambda one: load(f"{one}.toml"),
        lambda one: load(str(tiny), (f"dataset=npz:{one}",)),
    ):
        try:
            read(name)
        except UsageError as error:
            assert format_error(error).isprintable()
    if name[0] != "~":
        with pytest.raises(UsageError, match="no path of a file"):
            user_path(name)


def test_a_size_of_thousands_of_digits_is_refused(tmp_path):
    with pytest.raises(UsageError):
        folder(f"{tmp_path}@{'9' * 5000}")


def test_an_error_is_one_line_that_prints_and_ends():
    line = format_error(UsageError("\x1b[31mred\nand " + "long " * 1000))
    assert line.startswith("\\x1b[31mred and long") and line.endswith("...") and len(line) == LONGEST_LINE


def test_names_of_files_that_are_left_out_are_printed_without_control_characters(tmp_path, capsys):
    from PIL import Image

    place = tmp_path / "images"
    place.mkdir()
    Image.new("L", (8, 8)).save(place / "a.png")
    (place / "\x1b[31m.png").write_bytes(b"none")
    (tmp_path / "labels.csv").write_text("file,\x1b[2Jcolumn\na.png,1\n\x1b[31m.png,1\n")
    found = folder(str(place), skip_broken=True)
    said = capsys.readouterr().err
    assert "\\x1b[31m.png" in said and said.strip().isprintable()
    assert all(remark.isprintable() for remark in found.remarks) and "\\x1b[2J" in found.remarks[0]


PIPELINES = {
    "sample_size": ([1], "sample_size = [1]: it should be a whole number"),
    "in_channels": (float("inf"), "in_channels = inf: it should be a whole number"),
    "num_class_embeds": ([None], "num_class_embeds = [None]: it should be a whole number"),
}


@pytest.mark.parametrize("key", PIPELINES)
def test_numbers_of_a_pipeline_that_are_none_are_named(pipelines, tmp_path, key):
    pipelines.tiny().save_pretrained(tmp_path)
    config = tmp_path / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {key: PIPELINES[key][0]}))
    with pytest.raises(UsageError) as refusal:
        read_header_spec(Options(str(tmp_path)))
    assert PIPELINES[key][1] in str(refusal.value) and "unet/config.json" in str(refusal.value)


def test_a_part_of_a_pipeline_that_names_no_class_is_named(pipelines, tmp_path):
    pipelines.tiny().save_pretrained(tmp_path)
    index = tmp_path / "model_index.json"
    for wrong in ([["diffusers", "UNet2DModel"]], ["diffusers"], ["a", "b", "c"], [1, 2]):
        index.write_text(json.dumps(json.loads(index.read_text()) | {"unet": wrong}))
        with pytest.raises(UsageError, match=r"model_index\.json: unet = .*: it should be \[library, class\]"):
            read_header_spec(Options(str(tmp_path)))


def test_a_setting_that_leaves_a_class_without_a_value_is_named(pipelines, tmp_path):
    """UnboundLocalError in UNet2DModel."""
    pipelines.tiny().save_pretrained(tmp_path)
    config = tmp_path / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"time_embedding_type": "none"}))
    defense = Pipeline(path=str(tmp_path))
    with pytest.raises(UsageError, match="not a UNet2DModel"):
        build(defense.options, "", torch.device("cpu"))


def test_claims_of_a_plan_whose_point_names_no_defense_are_refused(finished, tmp_path):
    shutil.copytree(finished.out, tmp_path / "run")
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    plan["points"][0]["defense"] = ""
    (tmp_path / "run" / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(UsageError, match=r"plan\.json: point .* names no `defense`"):
        list_supported(open_run(tmp_path / "run"))

"""Submissions from people who mean harm: refused with one clear line, before much is read; and a fuzzer."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import warnings
import zipfile
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leakbench import UsageError, check_submission
from leakbench.interface.submission.arrays import read_arrays
from leakbench.interface.submission.pack import pack_files
from leakbench.interface.submission.packed_arrays import pack_arrays
from leakbench.interface.submission.unpack import unpacked
from leakbench.runtime.zip_members import Limits, read_zip_members

LOSS = "baseline__loss__DENOISER__seed0"


def refused(path, *words):
    with pytest.raises(UsageError) as refusal:
        check_submission(path)
    line = str(refusal.value)
    assert line.isprintable(), line
    for word in words:
        assert word in line, line
    return line


def archive_of(path, members):
    """A zip file of (name or ZipInfo, content), in this order, whatever they are."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")  # zipfile's, of a name that stands there twice
        for name, content in members:
            archive.writestr(name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name), content)
    return path


BAD_NAMES = {
    "upwards": "records/../../../../tmp/evil.json",
    "absolute": "/etc/cron.d/evil",
    "backslash": "records\\evil.json",
    "drive": "C:/evil.json",
    "control": "records/\x1b[31mevil.json",
    "right to left": "records/\u202egnp.json",
    "newline": "records/a\nb.json",
    "long": f"records/{'a' * 300}.json",
    "dot": "records/./evil.json",
    "folder": "records/",
}


@pytest.mark.parametrize("what", BAD_NAMES)
def test_a_name_that_leaves_the_folder_or_does_not_print_is_refused(tmp_path, packed, what):
    members = [*packed.files.items(), (BAD_NAMES[what], b"{}")]
    refused(archive_of(packed.path, members), "changed.zip", "bad name")
    assert not (tmp_path.parent / "evil.json").exists()


def test_files_of_no_packed_run_are_refused(packed):
    for name in ("setup.py", "records/deep/a.json", "arrays/a.pkl", ".git"):
        refused(archive_of(packed.path, [*packed.files.items(), (name, b"{}")]), repr(name), "no file of a packed run")


@pytest.mark.parametrize("twin", ["plan.json", "PLAN.json"])
def test_a_name_that_stands_there_twice_is_refused(packed, twin):
    refused(archive_of(packed.path, [*packed.files.items(), (twin, b"{}")]), "twice")


def test_links_are_refused_in_archives_and_in_folders(packed, tmp_path):
    link = zipfile.ZipInfo("records/link.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(archive_of(packed.path, [*packed.files.items(), (link, b"/etc/passwd")]), "link")
    folder = tmp_path / "folder"
    for name, data in packed.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    check_submission(folder)
    (folder / "records" / "link.json").symlink_to("/etc/passwd")
    refused(folder, "link.json", "is a link")


SMALL = Limits(members=3, member_bytes=2000, total_bytes=5000)


def bomb(size, told=None):
    """A zip file of zeros, which states another size for them if `told` is given."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\0" * size)
    data = packed.getvalue()
    return data if told is None else data.replace(size.to_bytes(4, "little"), told.to_bytes(4, "little"))


def test_bombs_are_refused_by_the_size_they_state_and_by_the_size_they_have():
    def read(data, limits=SMALL):
        return list(read_zip_members(io.BytesIO(data), "it", limits))

    with pytest.raises(UsageError, match=r"it: 'a.npy' is larger than"):
        read(bomb(10**7))
    with pytest.raises(UsageError, match=r"it: (cannot be read as a zip file|'a.npy' does not have the size)"):
        read(bomb(10**7, told=10))
    many = pack_files({f"{number}": b"" for number in range(4)})
    with pytest.raises(UsageError, match="holds 4 files, more than the 3"):
        read(many)
    with pytest.raises(UsageError, match="unpacks to more than"):
        read(pack_files({f"{number}": b"\0" * 1900 for number in range(3)}))


def test_a_bomb_of_an_archive_is_refused_before_it_is_unpacked(packed, monkeypatch):
    packed.path.write_bytes(_stated(2**40))
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: pytest.fail("it was unpacked"))
    refused(packed.path, "changed.zip")


def _stated(size):
    """A small zip file whose directory states this size (in zip64 fields) for its only file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("plan.json", b"{}")
        archive.filelist[0].file_size = size
    return packed.getvalue()


JSON = {
    "NaN": (b'{"a": NaN}', "NaN is no number"),
    "infinity": (b'{"a": -Infinity}', "-Infinity is no number"),
    "huge": (b'{"a": 1e999}', "a number is too large"),
    "digits": (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
    "nested": (b"[" * 100_000, "nested too deeply"),
    "cut off": (b'{"a": ', "not JSON"),
    "bytes": (b"\xff\xfe\x00", "not JSON"),
}


@pytest.mark.parametrize("what", JSON)
def test_numbers_that_are_none_and_deep_nesting_are_refused(packed, what):
    content, words = JSON[what]
    packed.files[f"records/{LOSS}.json"] = content
    refused(packed.write(), f"records/{LOSS}.json", words)
    packed.files["plan.json"] = content
    refused(packed.write(), words)


def test_a_plan_or_record_of_another_schema_is_refused_in_one_line(packed):
    packed.edit(f"records/{LOSS}.json", lambda r: r.update(metrics=[{"name": "auc"}] * 1000))
    refused(packed.seal(), f"records/{LOSS}.json", "not a record")
    packed.edit("plan.json", lambda p: p.update(seeds="all of them"))
    refused(packed.seal(), "plan.json", "seeds")


def npy(header, numbers=b""):
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + numbers


ARRAYS = {
    "objects": (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"\x80\x04N."), "plain numbers"),
    "text": (npy("{'descr': '<U4', 'fortran_order': False, 'shape': (1,)}", b"\0" * 16), "plain numbers"),
    "promised": (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}", b"\0" * 8), "promises"),
    "negative": (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1)}", b"\0" * 8), "numpy saves it"),
    "code": (npy("__import__('os').system('true')"), "numpy saves it"),
    "empty": (b"", "numpy saves it"),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_arrays_are_plain_numbers_that_are_all_there(what):
    content, words = ARRAYS[what]
    with pytest.raises(UsageError, match="it: a: ") as refusal:
        read_arrays(pack_files({"a.npy": content}), "it")
    assert words in str(refusal.value)


def test_a_million_rows_that_nobody_planned_are_not_scored(packed):
    arrays = packed.arrays(LOSS)
    arrays["member_scores"] = np.zeros(10**6)
    packed.write_arrays(LOSS, arrays)
    lines = check_submission(packed.seal()).findings.disagreements
    assert any("member_scores has shape (1000000,); the plan says 40 images" in line for line in lines)


def test_scores_that_are_no_numbers_are_read_as_attacks_are(packed):
    arrays = packed.arrays(LOSS)
    arrays["member_scores"][:] = np.nan
    packed.write_arrays(LOSS, arrays)
    assert any("flag non-finite is left out" in one for one in check_submission(packed.seal()).findings.disagreements)


def test_records_of_another_plan_are_found(packed):
    packed.edit("plan.json", lambda p: p.update(suite="quick", points=[], split={}))
    found = check_submission(packed.seal()).findings
    assert any("suite is 'tiny', and the plan says 'quick'" in line for line in found.disagreements)
    packed.edit("plan.json", lambda p: p.update(settings={}))
    assert check_submission(packed.seal()).status == "disagrees"


def test_a_sweep_of_more_points_than_there_is_time_for_is_not_expanded(packed):
    def sweep(plan):
        values = [number / 1000 for number in range(1, 500)]
        plan["settings"]["defense"][1] |= dict.fromkeys(("alpha", "scale", "steps", "batch", "width", "lr"), values)

    packed.edit("plan.json", sweep)
    assert any("more than the 10000 points" in one for one in check_submission(packed.seal()).findings.disagreements)
    packed.edit("plan.json", lambda p: p["settings"].update(seeds=list(range(100_000))))
    assert any("more than the 200000 cells" in one for one in check_submission(packed.seal()).findings.disagreements)


def test_a_plan_that_no_data_set_has_the_images_for_does_not_agree(packed):
    packed.edit("plan.json", lambda p: p["settings"]["split"].update(members=10**6))
    assert any("too few images" in one for one in check_submission(packed.seal()).findings.disagreements)


def test_what_a_stranger_wrote_is_printed_without_control_characters(packed, leakbench):
    for length in (0, 400, 5000):
        packed.edit(f"records/{LOSS}.json", lambda r, n=length: r.update(suite="\x1b[2J<script>" + "x" * n))
        outcome = leakbench("check", "submission", packed.seal())
        assert outcome.code in (1, 2)
        lines = (outcome.out + outcome.err).splitlines()
        assert any(f"{LOSS}.json" in line for line in lines)
        assert all(line.isprintable() and len(line) < 500 for line in lines)


def test_a_plan_reads_no_file_and_downloads_nothing(packed, tmp_path, monkeypatch):
    from leakbench.runtime.download import http

    monkeypatch.setattr(http, "download", lambda *_, **__: pytest.fail("it downloads"), raising=False)
    for dataset in (f"npz:{tmp_path / 'secret.npz'}", "folder:/etc", "cifar10", "nonsense"):
        packed.edit("plan.json", lambda p, d=dataset: p["settings"].update(dataset=d))
        assert check_submission(packed.seal()).status == "disagrees"


def test_a_thousand_disagreements_are_counted_and_a_hundred_shown(packed, leakbench):
    packed.edit(
        f"records/{LOSS}.json", lambda r: r.update(metrics=[{"name": f"m{i}", "value": 1, "n": 1} for i in range(999)])
    )
    lines = leakbench("check", "submission", packed.seal()).out.splitlines()
    assert sum(line.startswith("disagrees: ") for line in lines) == 102
    assert any(line.startswith("disagrees: and ") for line in lines)


# A fuzzer: whatever is written where, the check ends with findings or with one line ---

JSONS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
QUICK = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def paths_in(content, path=()):
    yield path
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, inner in items:
        yield from paths_in(inner, (*path, key))


def check_ends(path):
    try:
        checked = check_submission(path)
    except UsageError as error:
        assert str(error).isprintable() and len(str(error)) < 1000
    else:
        assert checked.status in ("agrees", "disagrees", "void")
        checked.to_entry()


@pytest.fixture
def few(packed):
    """The packed run with two of its records, so that checking is quick."""
    kept = {LOSS, "baseline__nearest_copy__SAMPLES__seed0"}
    for name in [one for one in packed.files if one[0] in "ra" and one.split("/")[1].rsplit(".", 1)[0] not in kept]:
        del packed.files[name]
    return packed


@QUICK
@given(data=st.data())
def test_any_json_anywhere_ends_in_findings_or_one_line(few, data):
    before = dict(few.files)
    try:
        name = data.draw(st.sampled_from(["plan.json", f"records/{LOSS}.json"]))
        content = json.loads(few.files[name])
        content.pop("checksum", None)
        *above, key = data.draw(st.sampled_from(list(paths_in(content))[1:]))
        here = content
        for step in above:
            here = here[step]
        here[key] = data.draw(JSONS)
        few.files[name] = json.dumps(content).encode()
        plan = json.loads(few.files["plan.json"])
        if isinstance(plan.get("suite"), str) and isinstance(plan.get("identity"), str) and plan["suite"].isprintable():
            check_ends(few.seal() if len(plan["suite"]) < 200 and len(plan["identity"]) < 200 else few.write())
        check_ends(few.write())
    finally:
        few.files.clear()
        few.files.update(before)


@QUICK
@given(
    name=st.sampled_from(["member_scores", "nonmember_scores", "calibration_member_scores", "member_rows", "new"]),
    shape=st.lists(st.integers(0, 41), max_size=2),
    dtype=st.sampled_from(["f8", "f4", "i8", "u1", "?", ">f8"]),
    fill=st.sampled_from([0, 1, np.nan, np.inf, -np.inf, 1e308]),
)
def test_any_array_anywhere_ends_in_findings_or_one_line(few, name, shape, dtype, fill):
    before = dict(few.files)
    try:
        arrays = few.arrays(LOSS)
        with np.errstate(all="ignore"):
            arrays[name] = np.full(shape, fill).astype(dtype) if np.isfinite(fill) or "f" in dtype else np.zeros(shape)
        data = pack_arrays(arrays)
        few.files[f"arrays/{LOSS}.npz"] = data
        few.edit(f"records/{LOSS}.json", lambda r: r.update(arrays=hashlib.sha256(data).hexdigest()))
        check_ends(few.seal())
    finally:
        few.files.clear()
        few.files.update(before)


@settings(QUICK, max_examples=60)
@given(data=st.data())
def test_any_bytes_in_an_archive_end_in_one_line(few, data):
    untouched = pack_files(few.files)
    whole = bytearray(untouched)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(whole) - 1))
        whole[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    few.path.write_bytes(bytes(whole))
    with nullcontext() if bytes(whole) == untouched else pytest.raises(UsageError), unpacked(few.path):
        pass

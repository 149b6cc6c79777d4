"""Packed runs from strangers who can hash: they agree, disagree, or are refused."""

from __future__ import annotations

import hashlib
import json
import zipfile

import pytest
from hypothesis import strategies as st

from leakbench import check_submission
from leakbench.interface.submission.manifest import MANIFEST, build_manifest, format_manifest
from leakbench.interface.submission.pack import pack_files, submit

LOSS = "baseline__loss__DENOISER__seed0"
KEPT = (LOSS, "baseline__nearest_copy__SAMPLES__seed0")


@pytest.fixture(scope="module")
def files(finished, tmp_path_factory):
    """The files of the packed tiny run, with two of its records, so that a check is quick."""
    path = submit(finished.out, tmp_path_factory.mktemp("packed") / "tiny.zip")
    with zipfile.ZipFile(path) as packed:
        found = {name: packed.read(name) for name in packed.namelist()}
    return {n: data for n, data in found.items() if "/" not in n or n.split("/")[1].rsplit(".", 1)[0] in KEPT}


def sealed(files):
    """The files with the hashes that belong to them, as if the run had been packed like this."""
    others = {name: data for name, data in files.items() if name != MANIFEST}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in others.items()}
    before = json.loads(files[MANIFEST])
    return others | {MANIFEST: format_manifest(build_manifest(hashes, before["suite"], before["suite_digest"]))}


def _inside(mutations, files):
    """One file changed, and hashes that agree with it."""

    def change(name):
        if name.endswith(".npz"):
            return mutations.damaged(files[name])
        content = json.loads(files[name])
        tables = mutations.edited(content).map(lambda one: json.dumps(one).encode())
        return st.one_of(tables, tables, tables, mutations.damaged_text(files[name].decode()))

    def put(case):
        name, data = case
        changed = {**files, name: data}
        if name.startswith("arrays/"):
            record = name.replace("arrays", "records").replace(".npz", ".json")
            told = json.loads(files[record]) | {"arrays": hashlib.sha256(data).hexdigest()}
            told.pop("checksum", None)
            changed[record] = json.dumps(told).encode()
        return pack_files(sealed(changed) if name != MANIFEST else changed)

    return st.sampled_from(sorted(files)).flatmap(lambda name: st.tuples(st.just(name), change(name))).map(put)


def _check(path):
    def check(data):
        path.write_bytes(data)
        found = check_submission(path)
        assert found.status in ("agrees", "disagrees", "void")
        found.to_entry()

    return check


def test_any_submission_is_judged_or_refused(fuzzed, mutations, files, tmp_path):
    path = tmp_path / "run.zip"
    fuzzed(_inside(mutations, files), _check(path), names=[str(path)])


def test_any_archive_is_judged_or_refused(fuzzed, mutations, files, tmp_path):
    path = tmp_path / "run.zip"
    names = (
        st.sampled_from(["../evil.json", "/etc/evil", "records/a\nb.json", "plan.json", "PLAN.json", "a.py"])
        | mutations.texts
    )
    added = names.map(lambda name: mutations.zipped([*files.items(), (name.replace("\0", "0") or "x", b"{}")]))
    fuzzed(st.one_of(mutations.damaged(pack_files(files)), added), _check(path), names=[str(path)], share=2)


def test_any_file_of_checked_submissions_is_read_or_refused(fuzzed, mutations, tmp_path, files):
    from leakbench.results.verified import read_verified

    archive, path = tmp_path / "run.zip", tmp_path / "verified.json"
    archive.write_bytes(pack_files(sealed(files)))
    check_submission(archive, record=path)
    content = json.loads(path.read_text())

    def read(data):
        path.write_bytes(data)
        read_verified(path)

    tables = mutations.edited(content).map(lambda one: json.dumps(one).encode())
    fuzzed(st.one_of(tables, mutations.damaged_text(json.dumps(content))), read, names=[str(path)], share=5)

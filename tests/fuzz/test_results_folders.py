"""Folders of results from a stranger: whatever plan, records and arrays say, they are shown or refused."""

from __future__ import annotations

import hashlib
import json
import shutil

import pytest
from hypothesis import strategies as st

from leakbench import load
from leakbench.results.run_folder import open_run
from leakbench.runtime import registry

KEPT = [
    "baseline__loss__DENOISER__seed0",
    "baseline__nearest_copy__SAMPLES__seed0",
    "baseline__quality__SAMPLES__seed0",
]
KEPT += ["cpsample_alpha=0.25__loss__DENOISER__seed0", "cpsample_alpha=0.25__quality__SAMPLES__seed0"]


@pytest.fixture(scope="module")
def kept(finished):
    """The files of a small run, by name."""
    names = ["plan.json", *(f"records/{stem}.json" for stem in KEPT), *(f"arrays/{stem}.npz" for stem in KEPT)]
    assert all((finished.out / name).is_file() for name in names)
    return {name: (finished.out / name).read_bytes() for name in names}


@pytest.fixture
def home(kept, tmp_path):
    """A folder with these files."""
    for name, data in kept.items():
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_bytes(data)
    return tmp_path / "run"


def unsealed(content):
    if isinstance(content, dict):
        content.pop("checksum", None)  # as of a record that somebody has edited, or of an older version
    return json.dumps(content).encode()


def seal(path, data):
    """Let a record have arrays of these bytes."""
    record = json.loads(path.read_text())
    record.pop("checksum", None)
    path.write_text(json.dumps(record | {"arrays": hashlib.sha256(data).hexdigest()}))


def _table(run):
    load(run.path).table()


def _show(run):
    from rich.console import Console

    from leakbench.cli.show import _tables

    for record in run.records:
        for table in _tables(record):
            Console().print(table)


def _claims(run):
    from leakbench.reports.claims.support import format_claims, list_supported

    format_claims(list_supported(run))


def _arrays(run):
    for record in run.records:
        run.arrays(record)


def _frames(run):
    results = load(run.path)
    repr(results), results._repr_html_(), results.void, results.verdicts()


def _report(name):
    return lambda run: registry.find("reports", name)(run)


USES = {"arrays": _arrays, "claims": _claims, "frames": _frames, "show": _show, "table": _table}
USES |= {name: _report(name) for name in ("terminal", "csv", "md", "html", "model-card", "jsonl", "tex")}


def test_any_results_folder_is_shown_or_refused(fuzzed, mutations, kept, home):
    jsons = sorted(name for name in kept if name.endswith(".json"))

    def file_of(name):
        changed = mutations.damaged(kept[name]) if name.endswith(".npz") else None
        if changed is None:
            tables = mutations.edited(json.loads(kept[name])).map(unsealed)
            changed = st.one_of(tables, tables, tables, mutations.damaged_text(kept[name].decode()))
        return st.tuples(st.just(name), changed)

    def use(case):
        (name, data), how = case
        (home / name).write_bytes(data)
        if name.endswith(".npz"):  # as somebody writes it who can hash
            seal(home / name.replace("arrays", "records").replace(".npz", ".json"), data)
        try:
            USES[how](open_run(home))
        finally:
            for one, before in kept.items():
                (home / one).write_bytes(before)
            for more in set(home.iterdir()) - {home / "plan.json", home / "records", home / "arrays"}:
                shutil.rmtree(more) if more.is_dir() else more.unlink()

    names = st.sampled_from([*jsons, *jsons, *sorted(kept)])
    fuzzed(st.tuples(names.flatmap(file_of), st.sampled_from(sorted(USES))), use, names=[str(home), "records/"])

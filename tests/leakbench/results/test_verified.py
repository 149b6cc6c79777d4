"""The file of checked submissions, and the state of a leaderboard's row that it gives."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest

from leakbench.results.record import Metric
from leakbench.results.run_digest import digest_run
from leakbench.results.verified import (
    CheckedSubmission,
    CounterEvaluation,
    VerifiedFile,
    read_verified,
    row_state,
    write_verified,
)
from leakbench.runtime.errors import UsageError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def entry(digest="a", **values):
    given = {"status": "agrees", "ensemble": "strongest 1", "leakbench": "0.1.0", "checked": NOW} | values
    return CheckedSubmission(digest=digest * 64, **given)


def counter(low, **values):
    metric = Metric(name="oriented_auc", value=low + 0.05, ci_low=low, ci_high=low + 0.1, n=300)
    given = {"kind": "verified", "access": "DENOISER", "point": "cpsample", "queries": 4.0} | values
    return CounterEvaluation(
        digest="c" * 64, attack="mine", seed=0, metrics=(metric,), leakbench="0.1.0", checked=NOW, **given
    )


def state(found, own=0.6, access="DENOISER"):
    return row_state(found, "cpsample", access, own)


def test_a_row_is_what_was_checked_of_it():
    assert state(None) == "self-reported"
    assert state(entry()) == "ensemble"
    assert state(entry(ensemble="")) == "self-reported"
    assert state(entry(missing=("baseline, loss, seed 0",))) == "self-reported"
    assert state(entry(status="disagrees")) == state(entry(status="void")) == "unreliable"


def test_only_a_stronger_verified_attack_of_no_more_access_takes_the_row():
    assert state(entry(counters=(counter(0.7),))) == "best external"
    assert state(entry(counters=(counter(0.5),))) == "ensemble"
    assert state(entry(counters=(counter(0.9, kind="asserted"),))) == "ensemble"
    assert state(entry(counters=(counter(0.9, access="WEIGHTS"),))) == "ensemble"
    assert state(entry(counters=(counter(0.9, access="WEIGHTS"),)), access="WEIGHTS") == "best external"
    assert state(entry(counters=(counter(0.9, point="baseline"),))) == "ensemble"


def test_the_file_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "verified.json"
    content = VerifiedFile().with_entry(entry("b")).with_entry(entry("a", counters=(counter(0.7),)))
    content = content.with_entry(entry("b", status="void"))
    write_verified(path, content)
    read = read_verified(path)
    assert read == content
    assert [one.digest[0] for one in read.submissions] == ["a", "b"]
    assert read.find("b" * 64).status == "void" and read.find("d" * 64) is None


FAULTS = {
    "not JSON": lambda text: text[:-5],
    "unknown status": lambda text: text.replace('"agrees"', '"splendid"'),
    "control character": lambda text: text.replace("strongest 1", "strongest\\u001b[31m"),
    "not a digest": lambda text: text.replace("a" * 64, "../../etc/passwd"),
    "NaN": lambda text: text.replace("0.75", "NaN"),
    "twice": lambda text: text.replace("b" * 64, "a" * 64),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, fault):
    path = tmp_path / "verified.json"
    write_verified(path, VerifiedFile(submissions=(entry("a", counters=(counter(0.7),)), entry("b"))))
    path.write_text(FAULTS[fault](path.read_text()))
    with pytest.raises(UsageError, match=r"verified\.json: ") as refusal:
        read_verified(path)
    assert "\n" not in str(refusal.value)
    with pytest.raises(UsageError, match="no such file"):
        read_verified(tmp_path / "none.json")


def test_the_digest_is_that_of_what_sha256sum_prints(tmp_path):
    for folder, name in (("records", "b.json"), ("arrays", "b.npz"), ("figures", "b.png")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(name)
    (tmp_path / "plan.json").write_text(json.dumps({}))
    (tmp_path / "report.md").write_text("no part of it")
    names = ["arrays/b.npz", "plan.json", "records/b.json"]
    lines = [f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    assert digest_run(tmp_path) == hashlib.sha256("".join(lines).encode()).hexdigest()

"""`leakbench.audit`: what `leakbench audit` does, from Python."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import leakbench as lb
from leakbench.interface import audit as module
from leakbench.results.run_folder import RunFolder


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    from leakbench.runner import run_log

    monkeypatch.setattr(run_log, "FORMATS", ("csv",))


def save(folder, count, seed):
    """A folder of smooth pictures, 16x16, no two of which are near-duplicates."""
    generator = np.random.default_rng(seed)
    folder.mkdir()
    for number, coarse in enumerate(generator.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)):
        Image.fromarray(coarse).resize((16, 16), Image.Resampling.BICUBIC).save(folder / f"{number:03}.png")
    return folder


@pytest.fixture
def folders(tmp_path):
    """Members, nonmembers and generated pictures."""
    numbers = {"members": 50, "nonmembers": 70, "generated": 60}
    return [save(tmp_path / name, count, seed) for seed, (name, count) in enumerate(numbers.items())]


def digests(folder):
    return {record.stem: record.digest for record in RunFolder(folder).records}


def test_an_audit_returns_results_and_the_command_repeats_nothing_of_it(folders, leakbench, tmp_path, capsys):
    members, nonmembers, generated = folders
    out = tmp_path / "run"
    results = lb.audit(
        None,
        members,
        str(nonmembers),
        samples=generated,
        out=out,
        attacks=["blind", "gan_leaks"],
        settings={"quality.features": "pixels"},
        workers=1,
    )
    assert "the trade-off" not in capsys.readouterr().out
    (row,) = results.table().to_dict("records")
    assert row["point"] == "model" and row["samples_attack"].split()[0] in ("blind", "gan_leaks")
    found = results.metric("model", row["samples_attack"].split()[0], "oriented_auc")
    assert [row[f"samples_auc{end}"] for end in ("", "_low", "_high")] == [found.value, found.low, found.high]
    command = json.loads((out / "plan.json").read_text())["command"]
    assert command.startswith(f"leakbench.audit(None, {str(members)!r}, {str(nonmembers)!r}, samples=")
    before, times = digests(out), {path: path.stat().st_mtime_ns for path in (out / "records").iterdir()}
    sides = ["--members", members, "--nonmembers", nonmembers, "--samples", generated]
    words = ["--attacks", "blind,gan_leaks", "--set", "quality.features=pixels", "--out", out, "--workers", 1]
    outcome = leakbench("audit", *sides, *words)
    assert outcome.code == 0 and f"{row['samples_auc']:.2f} [" in outcome.out
    assert digests(out) == before and {path: path.stat().st_mtime_ns for path in times} == times


def test_attacks_that_are_left_out_are_a_warning(folders, tmp_path, monkeypatch):
    whole = module.build_audit_suite

    def build(request, overrides):
        return whole(request, overrides)[0], {"secmi": "there are no timesteps"}

    monkeypatch.setattr(module, "build_audit_suite", build)
    monkeypatch.setattr(module, "execute", lambda run, call: run.out)
    members, nonmembers, generated = folders
    with pytest.warns(UserWarning, match="left out: secmi: there are no timesteps") as caught:
        out = lb.audit(None, members, nonmembers, samples=generated, out=tmp_path / "run", attacks="blind")
    assert out == tmp_path / "run" and caught[0].filename == __file__


WRONG = {
    "nothing": ((None, "a", "b"), {}, ["MODEL", "--samples DIR"]),
    "both": (("m", "a", "b"), {"samples": "c"}, ["MODEL", "--samples DIR"]),
    "members": (("m", "nowhere", "b"), {}, ["--members 'nowhere'", "no such folder"]),
    "size": (("m", "a", "b"), {"size": 1}, ["size = 1", "from 2 up"]),
    "guidance": (("m", "a", "b"), {"guidance": -1}, ["guidance = -1", "from 0 up"]),
    "device": (("m", "a", "b"), {"device": "tpu"}, ["device = 'tpu'", "cpu"]),
    "defenses": ((None, "a", "b"), {"samples": "c", "defenses": "cpsample"}, ["--defense cpsample", "MODEL"]),
    "attacks": ((None, "a", "b"), {"samples": "c", "attacks": ["los"]}, ["--attacks", "did you mean 'loss'?"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_one_line(case, folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    there = dict(zip("abc", folders, strict=True))
    arguments, more, words = WRONG[case]
    with pytest.raises(lb.UsageError) as caught:
        lb.audit(*(there.get(one, one) for one in arguments), **{key: there.get(str(v), v) for key, v in more.items()})
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "runs").exists()

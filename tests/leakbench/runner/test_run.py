"""A run from end to end: what it writes, that it repeats, and that it makes what is missing and nothing else."""

from __future__ import annotations

import csv
import hashlib
import json

import numpy as np
import pytest

from leakbench.results.run_folder import RunFolder


def records_of(folder):
    return {record.stem: record for record in RunFolder(folder).records}


def digests(folder):
    return {stem: record.digest for stem, record in records_of(folder).items()}


def written(*folders):
    """Modification time of every file below, without the reports, which every run writes again."""
    return {
        path: path.stat().st_mtime_ns
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
        and path.parent.name != "figures"
        and path.suffix not in (".csv", ".md")
        and path.name not in (".lock", ".reported", "plan.json")
    }


def hashes_of(image):
    """Hashes by which whoever holds a picture could look it up, as bytes and as arrays of text hold them."""
    for name in ("md5", "sha1", "sha256"):
        for pixels in (image, image[..., 0], image.transpose(2, 0, 1)):
            digest = hashlib.new(name, np.ascontiguousarray(pixels).tobytes())
            yield from (digest.digest(), digest.hexdigest().encode(), digest.hexdigest().encode("utf-32-le"))


def rows_of(folder):
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


BROKEN = """
from leakbench.api import Access, MembershipAttack
class Broken(MembershipAttack):
    name = "broken"
    summary = "raises"
    access = Access.DENOISER
    def score(self, view, images, labels):
        raise ZeroDivisionError("my attack is broken")
"""
MENDED = BROKEN.replace(
    'raise ZeroDivisionError("my attack is broken")', "return -view.eps(images, 5).flatten(1).norm(dim=1)"
)


@pytest.fixture
def run(leakbench, tmp_path, tiny):
    """run(*words): `leakbench run` of the tiny suite into tmp_path/run with one worker."""

    def call(*words, out=None):
        return leakbench("run", tiny, "--out", out or tmp_path / "run", "--workers", 1, *words)

    return call


def test_a_run_writes_plan_records_arrays_tables_report_and_figures(finished):
    assert finished.outcome.code == 0, finished.outcome.err
    assert finished.outcome.err == ""
    names = {path.name for path in finished.out.iterdir()}
    tables = {"results.csv", "summary.csv", "verdicts.csv", "attacks.csv", "differences.csv", "controls.csv"}
    tables |= {"report_tables.csv", "near_duplicates.csv", "timings.csv"}
    assert names == {
        ".lock",
        ".reported",
        "plan.json",
        "history.json",
        "records",
        "arrays",
        "figures",
        "report.md",
        *tables,
    }
    # three releases, each: quality, nearest_copy, loss and pia at two levels
    assert len(list((finished.out / "records").iterdir())) == len(list((finished.out / "arrays").iterdir())) == 3 * 6
    assert {path.suffix for path in (finished.out / "figures").iterdir()} == {".png"}
    assert "cpsample alpha=0.5" in finished.outcome.out


def test_results_hold_one_row_a_metric_and_the_columns_of_the_design(finished):
    rows = rows_of(finished.out)
    assert list(rows[0]) == [
        "suite",
        "dataset",
        "model",
        "defense",
        "point",
        "defense_params",
        "attack",
        "attack_params",
        "features",
        "access",
        "seed",
        "metric",
        "title",
        "better",
        "value",
        "ci_low",
        "ci_high",
        "n",
        "queries",
        "flags",
    ]
    assert len(rows) == sum(len(record.metrics) for record in RunFolder(finished.out).records)
    for access in ("DENOISER", "WEIGHTS"):
        aucs = [row for row in rows if (row["attack"], row["access"], row["metric"]) == ("pia", access, "auc")]
        assert len(aucs) == 3
        assert all(0 <= float(row["ci_low"]) <= float(row["value"]) <= float(row["ci_high"]) <= 1 for row in aucs)


def test_the_auc_in_the_results_is_that_of_the_raw_scores(finished):
    from sklearn.metrics import roc_auc_score

    folder = RunFolder(finished.out)
    for record in folder.records:
        if record.family == "membership":
            arrays = folder.arrays(record)
            scores = np.concatenate([arrays["member_scores"], arrays["nonmember_scores"]])
            assert [len(arrays["member_scores"]), len(arrays["nonmember_scores"])] == [40, 40]
            auc = roc_auc_score(np.repeat([1, 0], 40), scores)
            assert record.metric("auc").value == pytest.approx(auc, abs=1e-12)


def test_cpsamples_weights_rows_equal_the_baselines_exactly(finished):
    folder, found = RunFolder(finished.out), records_of(finished.out)
    for attack in ("loss", "pia"):
        base = folder.arrays(found[f"baseline__{attack}__WEIGHTS__seed0"])["member_scores"]
        for alpha in (0.25, 0.5):
            protected = found[f"cpsample_alpha={alpha}__{attack}__WEIGHTS__seed0"]
            np.testing.assert_array_equal(folder.arrays(protected)["member_scores"], base)
            assert protected.metrics == found[f"baseline__{attack}__WEIGHTS__seed0"].metrics
        answered = found[f"cpsample_alpha=0.5__{attack}__DENOISER__seed0"]
        assert not np.array_equal(folder.arrays(answered)["member_scores"], base)


@pytest.mark.slow
def test_one_and_two_workers_give_the_same_bytes(leakbench, finished, tmp_path):
    done = leakbench("run", finished.suite, "--out", tmp_path / "two", "--workers", 2)
    assert done.code == 0, done.err
    for name in ("results.csv", "summary.csv"):
        assert (tmp_path / "two" / name).read_bytes() == (finished.out / name).read_bytes()
    assert digests(tmp_path / "two") == digests(finished.out)


def test_rerun_missing_after_success_recomputes_nothing(run, again, finished):
    before = written(again.out, again.cache)
    outcome = run("--rerun", "missing")
    assert outcome.code == 0
    assert written(again.out, again.cache) == before
    assert (again.out / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()


def test_rerun_all_trains_samples_and_records_the_same_again(run, again, finished):
    folders = (again.out / "records", *(again.cache / kind for kind in ("fits", "samples", "readers")))
    before = written(*folders)
    assert run("--rerun", "all").code == 0
    after = written(*folders)
    assert after.keys() == before.keys()
    assert all(after[path] > before[path] for path in before)
    assert digests(again.out) == digests(finished.out)


def test_a_failing_attack_costs_no_other_attack_and_only_it_runs_after_mending(run, trained, tiny, tmp_path):
    tiny.write_text(tiny.read_text().replace('name = "loss"', 'name = "broken"'))
    plugin = tmp_path / "broken.py"
    plugin.write_text(BROKEN)
    outcome = run("--plugin", plugin)
    assert outcome.code == 1
    assert "Traceback" not in outcome.err
    assert [line.count("'broken': ZeroDivisionError: my attack is broken") for line in outcome.err.splitlines()] == [
        1
    ] * 3
    found = records_of(tmp_path / "run")
    assert {record.attack for record in found.values()} == {"quality", "nearest_copy", "pia"}
    assert len(found) == 3 * 4
    before = written(tmp_path / "run" / "records", tmp_path / "cache" / "fits", tmp_path / "cache" / "samples")
    plugin.write_text(MENDED)
    assert run("--plugin", plugin, "--rerun", "failed").code == 0
    after = written(tmp_path / "run" / "records", tmp_path / "cache" / "fits", tmp_path / "cache" / "samples")
    assert {path.name.split("__")[1] for path in after.keys() - before.keys()} == {"broken"}
    assert all(after[path] == before[path] for path in before)
    assert not (tmp_path / "run" / "failures.json").exists()


def test_an_error_of_attacks_that_run_together_is_told_though_each_alone_goes_through(run, trained, tiny, tmp_path):
    tiny.write_text(tiny.read_text().replace('name = "loss"', 'name = "broken"'))
    once = MENDED.replace("        return -", "        if not calls:\n            calls.append(1)\n" + " " * 12)
    once = once.replace("view.eps(", 'raise ZeroDivisionError("only once")\n        return -view.eps(')
    (tmp_path / "p.py").write_text("calls = []\n" + once)
    outcome = run("--plugin", tmp_path / "p.py")
    assert outcome.code == 0
    assert outcome.err.splitlines() == [
        "leakbench: baseline, seed 0: attacks failed together, and were run alone: ZeroDivisionError: only once"
    ]
    assert len(records_of(tmp_path / "run")) == 3 * 6


def test_rerun_failed_leaves_alone_what_did_not_fail(run, again):
    next((again.out / "records").glob("baseline__pia*")).unlink()
    before = written(again.out)
    assert run("--rerun", "failed").code == 0
    assert written(again.out) == before


def test_a_broken_plugins_old_numbers_do_not_stay_in_the_results(run, trained, tiny, tmp_path):
    tiny.write_text(tiny.read_text().replace('name = "loss"', 'name = "broken"'))
    (tmp_path / "p.py").write_text(MENDED)
    assert run("--plugin", tmp_path / "p.py").code == 0
    assert "broken" in {row["attack"] for row in rows_of(tmp_path / "run")}
    (tmp_path / "p.py").write_text(BROKEN)
    assert run("--plugin", tmp_path / "p.py").code == 1
    assert "broken" not in {row["attack"] for row in rows_of(tmp_path / "run")}


def test_a_failing_defense_fails_what_builds_on_it_and_nothing_else(run, trained, tiny, tmp_path):
    (tmp_path / "d.py").write_text("""
from leakbench.api import Defense
class Bad(Defense):
    name = "bad"
    summary = "raises"
    def fit(self, task):
        raise MemoryError("no room to train")
""")
    tiny.write_text(
        tiny.read_text()
        + '\n[[defense]]\nname = "bad"\n[[defense]]\nid = "over"\nname = "reject_resample"\nbase = "bad"\n'
    )
    outcome = run("--plugin", tmp_path / "d.py")
    assert outcome.code == 1
    assert "train bad, seed 0: MemoryError: no room to train" in outcome.err
    assert {record.defense for record in records_of(tmp_path / "run").values()} == {"baseline", "cpsample"}
    failures = json.loads((tmp_path / "run" / "failures.json").read_text())
    assert sorted(name for name in failures if name.startswith("audit")) == ["audit bad seed 0", "audit over seed 0"]


@pytest.mark.parametrize("harm", ["delete", "flip"])
@pytest.mark.parametrize("kind", ["arrays", "records"])
def test_deleted_or_damaged_results_are_named_and_made_again_alike(run, again, finished, kind, harm):
    path = next((again.out / kind).glob("cpsample_alpha=0.5__pia__DENOISER*"))
    if harm == "delete":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20])
    outcome = run()
    assert outcome.code == 0
    if (kind, harm) != ("records", "delete"):  # a record that is gone is merely missing
        assert str(path) in outcome.err
    assert digests(again.out) == digests(finished.out)
    assert (again.out / "results.csv").read_bytes() == (finished.out / "results.csv").read_bytes()
    fresh = {
        p.name
        for p, time in written(again.out / "records").items()
        if time > (again.out / "plan.json").stat().st_mtime_ns
    }
    assert len(fresh) == 1


def test_records_of_older_code_are_made_again_and_kept_aside(run, again, finished):
    path = next((again.out / "records").glob("cpsample_alpha=0.5__pia__DENOISER*"))
    record = json.loads(path.read_text()) | {"inputs": "0" * 40}
    del record["checksum"]
    path.write_text(json.dumps(record))
    older, arrays = path.read_bytes(), (again.out / "arrays" / f"{path.stem}.npz").read_bytes()
    outcome = run()
    assert outcome.code == 0 and f"1 of {len(digests(finished.out))} records in " in outcome.err
    assert digests(again.out) == digests(finished.out)
    assert (again.out / "superseded" / "records" / path.name).read_bytes() == older
    assert (again.out / "superseded" / "arrays" / f"{path.stem}.npz").read_bytes() == arrays


def test_records_under_names_of_older_versions_stay_and_are_replaced_when_made_again(run, trained, tiny, tmp_path):
    tiny.write_text(tiny.read_text().replace('name = "cpsample"', 'id = "cp_sample"\nname = "cpsample"'))
    assert run().code == 0
    out, expected = tmp_path / "run", digests(tmp_path / "run")
    for record in records_of(out).values():
        for kind, ending in (("records", "json"), ("arrays", "npz")):
            (out / kind / f"{record.stem}.{ending}").rename(out / kind / f"{record.readable_name}.{ending}")
    results = (out / "results.csv").read_bytes()
    renamed = written(out)
    assert (run().code, run().err) == (0, "")
    assert written(out) == renamed
    (out / "arrays" / "cp_sample_alpha=0.5__pia__DENOISER__seed0.npz").unlink()
    assert run().code == 0
    assert digests(out) == expected and (out / "results.csv").read_bytes() == results
    assert len(list((out / "records").iterdir())) == len(list((out / "arrays").iterdir())) == len(expected)


@pytest.mark.parametrize("kind", ["fits", "samples", "readers"])
def test_damaged_artefacts_are_named_and_made_again_alike(run, again, finished, kind):
    for folder in (again.cache / kind).iterdir():
        weights = next(folder.glob("*.safetensors"))
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    for path in (again.out / "records").iterdir():
        path.unlink()
    outcome = run()
    assert outcome.code == 0
    assert outcome.err.count("does not match its hash; making it again") == len(list((again.cache / kind).iterdir()))
    assert digests(again.out) == digests(finished.out)


def test_a_run_lists_the_images_that_it_left_out(finished):
    with (finished.out / "near_duplicates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["resembles"]) for row in rows] == [("1648", "1585")]  # the nearest by scipy's cdist too
    assert json.loads((finished.out / "plan.json").read_text())["split"]["near_duplicates_removed"] == len(rows)


def test_without_images_no_picture_is_kept(run, again):
    arrays = [RunFolder(again.out).arrays(r) for r in RunFolder(again.out).records]
    shown = [image for a in arrays if "pair_nearest" in a for image in (*a["pair_nearest"], *a["pair_samples"])]
    pairs = [(a["similarity"], a["nearest"]) for a in arrays if "pair_nearest" in a]
    assert shown
    assert run("--no-images").code == 0
    for record in RunFolder(again.out).records:
        for name, array in RunFolder(again.out).arrays(record).items():
            assert array.dtype != np.uint8, name
    kept = [array.tobytes() for r in RunFolder(again.out).records for array in RunFolder(again.out).arrays(r).values()]
    kept += [path.read_bytes() for path in again.out.rglob("*") if path.suffix in (".json", ".csv", ".md")]
    for image in shown:
        for words in hashes_of(image):
            assert not any(words in content for content in kept)
    arrays = [RunFolder(again.out).arrays(r) for r in RunFolder(again.out).records]
    left = [(a["similarity"], a["nearest"]) for a in arrays if "nearest" in a and "pair_similarity" in a]
    for (similarity, nearest), (before, its) in zip(left, pairs, strict=True):  # the owner finds the pairs by number
        np.testing.assert_array_equal(similarity, before)
        np.testing.assert_array_equal(nearest, its)

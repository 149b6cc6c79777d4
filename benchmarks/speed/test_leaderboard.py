"""How long a leaderboard of 200 results of 20 attacks takes to build, and to open in Chromium.

    pytest benchmarks/speed/test_leaderboard.py -s

One small real run on digits (300 members, 300 nonmembers, loss at the answers and at the weights) is copied 200 times
under other names, each with 20 attacks whose scores are its own with noise: 200 folders with a baseline and a defense
each, or 16,400 records. Building is told by the clock and by the processor (one thread), as others may use the machine.
Opening is from the request until all rows stand there, sorted and filtered by the script, and until the plot is drawn.
It needs Chromium and playwright.
"""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

import leakbench
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder

RESULTS, ATTACKS = 200, 20
SUITE = """
name = "source"
dataset = "digits"
seeds = [0]
[split]
members = 300
nonmembers = 300
calibration_in = 60
calibration_out = 60
[network]
width = 32
blocks = 1
[sampler]
steps = 5
[quality]
samples = 100
[[defense]]
name = "baseline"
steps = 100
batch = 32
lr = 0.002
[[defense]]
name = "reject_resample"
base = "baseline"
[[attack]]
name = "loss"
"""
NAMES = [f"attack{number:02d}" for number in range(ATTACKS)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("leaderboard")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAKBENCH_CACHE", str(home / "cache"))
        (home / "source.toml").write_text(SUITE)
        leakbench.run(home / "source.toml", out=home / "source", workers=1)
    source = RunFolder(home / "source")
    return [copy(source, home / f"run{number:03d}", number) for number in range(RESULTS)]


def copy(source: RunFolder, folder: Path, number: int) -> Path:
    """Write a run like the source whose defense has another name, and whose attacks are 20 noisy copies of loss."""
    plan = json.loads((source.path / "plan.json").read_text())
    name = f"defense{number:03d}"
    points = [one | {"point": name, "defense": name} if one["role"] == "defense" else one for one in plan["points"]]
    entries = [{"id": attack, "name": "loss"} for attack in NAMES]
    plan |= {"points": points, "attacks": dict.fromkeys(NAMES, "loss"), "settings": {"attack": entries}}
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(plan))
    for record in source.records:
        place = {"point": name, "defense": name} if record.point == "reject_resample" else {}
        arrays = source.arrays(record)
        for place_of, attack in enumerate(NAMES if record.family == "membership" else ["quality"]):
            # the same noise at the answers and at the weights, which are one computation here
            rng = np.random.default_rng([number, record.point == "baseline", place_of])
            noisy = {
                key: value + rng.normal(0, 0.3 * value.std(), value.shape) if key.endswith("_scores") else value
                for key, value in arrays.items()
            }
            save_record(folder, record.model_copy(update={"attack": attack, **place}), noisy)
    return folder


def test_build_and_open(folders, tmp_path):
    from playwright.sync_api import sync_playwright

    began, worked = time.perf_counter(), time.process_time()
    index = leakbench.leaderboard(folders, tmp_path / "site")
    built, worked = time.perf_counter() - began, time.process_time() - worked
    pages = list(index.parent.glob("*.html"))
    size = sum(path.stat().st_size for path in index.parent.rglob("*") if path.is_file())
    print(f"\nbuilt in {built:.1f} s, {worked:.1f} s of the processor: {len(pages)} pages, {size / 2**20:.1f} MiB")
    largest = max(index.parent.glob("track-*.html"), key=lambda path: path.stat().st_size)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for path in (index, largest, index.parent / "attacks.html"):
            page = browser.new_page()
            began = time.perf_counter()
            page.goto(path.as_uri())
            page.locator("th button").first.wait_for()
            ready = time.perf_counter() - began
            rows = page.locator("tbody tr").count()
            print(f"{path.name}: {rows} rows stand after {ready:.2f} s", end="")
            if page.locator(".chart").count():
                page.locator(".chart").first.scroll_into_view_if_needed()
                page.locator(".chart svg").first.wait_for()
                print(f", and the plot after {time.perf_counter() - began:.2f} s", end="")
            print()
            page.close()
        browser.close()

"""A Ray cluster of two nodes on this machine, each with an artefact folder of its own; one is killed in the middle."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from leakbench.results.run_folder import RunFolder

pytest.importorskip("ray", reason="Ray is not installed: it has no wheel for this Python or platform")
pytestmark = pytest.mark.slow


def node(folder):
    """A node of one core. Its folder of artefacts is its own: only the URL carries them to another."""
    return {
        "num_cpus": 1,
        "object_store_memory": 100 * 2**20,
        "include_dashboard": False,
        "env_vars": {"LEAKBENCH_CACHE": str(folder)},
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The head node, alone. Ray reports no usage from here, and asks no `uv run` above us for an environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args=node(tmp_path_factory.mktemp("head")))
        patch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def second(cluster, tmp_path):
    """A second node."""
    added = cluster.add_node(**node(tmp_path / "second"))
    yield added
    if added in cluster.worker_nodes:
        cluster.remove_node(added, allow_graceful=False)


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """The folder behind the URL that carries the artefacts; the command's machine has a folder of its own, too."""
    monkeypatch.setenv("LEAKBENCH_CACHE", f"file://{tmp_path}/shared")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "driver"))
    return tmp_path / "shared"


def made(*folders):
    """What is finished, with the time it was written."""
    return {
        path: path.stat().st_mtime_ns
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.name[0] != "."
    }


def digests(folder):
    return {record.stem: record.digest for record in RunFolder(folder).records}


def test_a_node_is_killed_in_the_middle_and_the_records_are_those_of_a_local_run(
    leakbench, tiny, tmp_path, cluster, second, shared, finished
):
    """Killed while it works, when some records have arrived: it has just opened what the other node trained."""
    out, before, over = tmp_path / "run", {}, threading.Event()

    def kill():
        while not over.is_set() and not (
            list(out.glob("records/[!.]*.json")) and list((tmp_path / "second").glob("shared/*/readers/[!.]*"))
        ):
            time.sleep(0.01)
        before.update(made(out / "records", out / "arrays", shared))
        cluster.remove_node(second, allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    outcome = leakbench("run", tiny, "--out", out, "--executor", "ray")
    over.set()
    killer.join()
    assert outcome.code == 0, outcome.err
    assert [line for line in outcome.err.splitlines() if "its node was lost" not in line] == []
    assert outcome.err.count("its node was lost (") == 1
    assert len(before) >= 6  # a record, its arrays, and the artefacts
    assert before.items() <= made(out, shared).items()  # nothing that was finished is made twice
    assert digests(out) == digests(finished.out)
    for name in ("results.csv", "summary.csv"):
        assert (out / name).read_bytes() == (finished.out / name).read_bytes()


def at_work():
    """Processes of Ray's that are doing one of our cells: it gives them the cell's words as their title."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith((b"ray::train ", b"ray::embedding ")):
                found.append(path.parent.name)
    return found


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_ctrl_c_is_one_line_and_the_tasks_end(cluster, tiny, tmp_path, shared):
    command = [sys.executable, "-m", "leakbench.cli", "run", str(tiny), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [*command, "--executor", "ray"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    until(lambda: at_work() or process.poll() is not None)
    os.kill(process.pid, signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 130, err
    assert err == "leakbench: interrupted; what was finished is kept: run the same command to go on\n"
    until(lambda: not at_work())
    assert list((tmp_path / "driver").rglob(".run-*")) == []

"""Preparing a run: what only asks changes nothing, neither on disk nor in the process."""

from __future__ import annotations

import os

import pytest
import torch

from leakbench.runner.process import cores, start_process
from leakbench.runner.run import prepare_run
from leakbench.runtime import distributed


@pytest.fixture
def three_threads():
    """A caller that has set torch's threads to its own liking."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_a_prepared_and_described_run_has_written_nothing_and_set_nothing(tiny, tmp_path, cache, three_threads):
    environment = dict(os.environ)
    run = prepare_run(str(tiny), str(tmp_path / "run"), device="cpu", workers=1)
    lines = list(run.describe())
    count = next(number for number, line in enumerate(lines) if line.startswith("6 cells (2 to train), 1 workers"))
    assert "minutes and" in lines[count + 1]
    assert torch.get_num_threads() == 3
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.distributed.is_initialized() and distributed.world_size() == 1
    assert dict(os.environ) == environment
    assert not (tmp_path / "run").exists() and not cache.exists()


def test_an_entry_point_sets_the_threads_of_its_process(three_threads):
    assert start_process("cpu") == "cpu"
    assert torch.get_num_threads() == 1


def test_a_process_that_only_drives_a_cluster_is_left_as_it_is(three_threads):
    assert [start_process(device, "ray") for device in ("auto", "cuda")] == ["auto", "cuda"]
    assert torch.get_num_threads() == 3


def test_without_a_number_of_workers_there_is_one_a_core(tiny, tmp_path):
    assert prepare_run(str(tiny), str(tmp_path / "run"), device="cpu").placement.workers == cores() >= 1

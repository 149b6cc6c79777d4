"""A plan says where its minutes come from, and that they are more while others use the machine."""

from __future__ import annotations

from leakbench.runner import description
from leakbench.runner.estimate.speeds import measure_load


def test_a_busy_machine_is_said(monkeypatch):
    monkeypatch.setattr(description, "measure_load", lambda: 1.1)
    assert list(description.describe_estimate(90, 2**21, "by guess")) == [
        "about 1.5 minutes and 2 MiB of disk on this machine (by guess)"
    ]
    monkeypatch.setattr(description, "measure_load", lambda: 2.25)
    assert "it takes longer" in [*description.describe_estimate(90, 2**21, "by guess")][1]


def test_a_second_of_ours_takes_a_second_or_more():
    assert measure_load() > 0.9

"""Fixtures for test suites of other projects, found by pytest where leakbench is installed.

    def test_it_gives_no_member_away(leakbench_audit):
        results = leakbench_audit("my_pipeline", "train", "heldout", attacks="strongest")
        results.assert_claim(defense="model", attack="strongest", at_most=0.6)

What was computed once is not computed again: results and weights are kept from one test session to the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from leakbench.interface.results import Results


@pytest.fixture(scope="session")
def leakbench_audit(request: pytest.FixtureRequest) -> Callable[..., Results]:
    """leakbench_audit(model, members, nonmembers, **options): `leakbench.audit`, its results kept in pytest's cache
    unless `out` says where. A test fails where the track is void."""
    from leakbench.interface.audit import audit

    def audit_once(model: str, members: str, nonmembers: str, **options: Any) -> Results:
        out = options.pop("out", None) or _folder(request, "audit", model)
        return _sound(audit(model, members, nonmembers, out=out, **options))

    return audit_once


@pytest.fixture(scope="session")
def leakbench_run(request: pytest.FixtureRequest) -> Callable[..., Results]:
    """leakbench_run(suite, **options): `leakbench.run`, its results kept in pytest's cache unless `out` says where. A
    test fails where the track is void."""
    from leakbench.interface.run import run

    def run_once(suite: str, **options: Any) -> Results:
        out = options.pop("out", None) or _folder(request, "run", suite)
        return _sound(run(suite, out=out, **options))

    return run_once


def _folder(request: pytest.FixtureRequest, kind: str, name: str) -> Path:
    """A folder of its own in the cache of pytest."""
    cache = request.config.cache
    assert cache is not None, "pytest runs with -p no:cacheprovider: give out=FOLDER"
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.") or "run"
    return Path(cache.mkdir("leakbench")) / f"{kind}-{readable}"


def _sound(results: Results) -> Results:
    assert not results.void, f"void: {'; '.join(results.void)}"
    return results

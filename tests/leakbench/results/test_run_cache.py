"""Answers about a run are computed once, and go with it."""

from __future__ import annotations

import gc
import weakref

from leakbench.results.run_cache import cache_on_run
from leakbench.results.run_folder import RunFolder
from leakbench.runtime import registry


def test_an_answer_is_computed_once_a_run_and_the_last_are_kept(tmp_path):
    asked = []

    @cache_on_run(2)
    def ask(run, number):
        asked.append((run, number))
        return number

    one, other = RunFolder(tmp_path), RunFolder(tmp_path)
    assert [ask(one, 1), ask(one, 1), ask(other, 1), ask(one, 2), ask(one, 3), ask(one, 1)] == [1, 1, 1, 2, 3, 1]
    assert asked == [(one, 1), (other, 1), (one, 2), (one, 3), (one, 1)]


def test_reports_hold_on_to_no_run(again):
    run = RunFolder(again.out)
    for name in ("csv", "md"):
        registry.find("reports", name)(run)
    assert run.answers  # so it was asked about
    gone = weakref.ref(run)
    del run
    gc.collect()
    assert gone() is None

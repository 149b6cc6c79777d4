"""Answers about a run, computed once and kept with it: they go when its RunFolder goes.

A `functools.lru_cache` of functions of a run would hold on to the run itself, records and all, long after its reports
are written: a process that makes many runs would grow by each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial, wraps
from typing import Concatenate, ParamSpec, TypeVar

from leakbench.results.run_folder import RunFolder

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")
_OfRun = Callable[Concatenate[RunFolder, Parameters], Answer]


def cache_on_run(most: int | None = None) -> Callable[[_OfRun[Parameters, Answer]], _OfRun[Parameters, Answer]]:
    """Keep the last `most` answers of a function whose first argument is a run, for each run; None for all of them."""

    def decorate(function: _OfRun[Parameters, Answer]) -> _OfRun[Parameters, Answer]:
        @wraps(function)
        def ask(run: RunFolder, *args: Parameters.args, **more: Parameters.kwargs) -> Answer:
            if function not in run.answers:
                run.answers[function] = lru_cache(most)(partial(function, run))
            answer: Answer = run.answers[function](*args, **more)
            return answer

        return ask

    return decorate

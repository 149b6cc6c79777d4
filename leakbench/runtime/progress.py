"""Says what a long phase is doing, on stderr, so that no command is silent for long: on a terminal and in log files.

with progress("looking for near-duplicates among 1,600 images"):
    ...
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FIRST, EVERY = 10.0, 15.0  # seconds until the first line, and between lines

_phases: list[object] = []  # of this process, from the outermost to the innermost


@contextmanager
def progress(phase: str | Callable[[], str], first: float | None = None, every: float | None = None) -> Iterator[None]:
    """Print a line about what happens inside once it has taken `first` seconds (FIRST), and then every so often.

    phase: the words, or a function that finds them anew for each line. Of phases within one another the innermost
    speaks. Worker processes are silent: their leader tells how far they are.
    """
    if multiprocessing.parent_process() is not None:
        yield
        return
    done, began = threading.Event(), time.perf_counter()

    def speak() -> None:
        wait = FIRST if first is None else first
        while not done.wait(wait):
            wait = EVERY if every is None else every
            if _phases and _phases[-1] is done:
                words = phase if isinstance(phase, str) else phase()
                print(f"leakbench: {words} ({time.perf_counter() - began:.0f} s so far)", file=sys.stderr, flush=True)

    thread = threading.Thread(target=speak, daemon=True)
    _phases.append(done)
    thread.start()
    try:
        yield
    finally:
        done.set()
        _phases.remove(done)

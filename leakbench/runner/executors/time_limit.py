"""A time limit of a cell: what takes longer is interrupted where it stands, and the cell fails like one that raised."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN = 10.0  # seconds after which code that has swallowed the interruption is interrupted again


class CellTimeout(Exception):
    """A cell took longer than it may."""


class _Overrun(BaseException):
    """Raised in the middle of a cell. No Exception: attacks that raise are left out and the others run alone, and a
    plugin may catch what it likes; the cell's time is over all the same."""


@contextmanager
def limit_time(minutes: float | None) -> Iterator[None]:
    """Raise CellTimeout if what is inside takes longer than so many minutes; None for no limit.

    Python code is interrupted, sleeping or computing; a single call of a library is not before it returns. Does nothing
    outside the main thread, to which signals go, and on systems without interval timers: whoever runs cells there has
    to watch them.
    """
    if minutes is None or not can_limit_time():
        yield
        return

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise _Overrun(_describe(frame))

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, 60.0 * minutes, _AGAIN)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
    except _Overrun as overrun:
        raise timed_out(minutes, f" (it was in {overrun})") from None


def can_limit_time() -> bool:
    """True in the main thread of a system that has interval timers."""
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()


def timed_out(minutes: float, where: str = "") -> CellTimeout:
    """The error of a cell that took longer than so many minutes."""
    return CellTimeout(f"took longer than the {minutes:g} minutes of --cell-limit{where}")


def _describe(frame: FrameType | None) -> str:
    """The line of code at work, for whoever looks for what hangs."""
    if frame is None:
        return "?"
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}, line {frame.f_lineno}"

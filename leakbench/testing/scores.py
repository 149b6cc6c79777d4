"""Checks that every attack with one score an image shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Protocol

import numpy as np

from leakbench.testing.check import CLOSE, Check, expect, expect_finite, expect_same


class Scores(Protocol):
    """A whole tiny run: scores (N,) and queries an image, in batches of a size, with the images in reverse or not.

    The scores come back in the order of the images either way.
    """

    def __call__(self, batch: int = 16, reverse: bool = False) -> tuple[np.ndarray, float]: ...


def score_checks(scores: Scores, method: Callable[..., Any], counted: bool) -> Iterator[Check]:
    """`method`: the attack's own that scores. `counted`: whether its access level has queries that are counted."""
    first = cache(scores)

    def alike(batch: int, reverse: bool, ways: tuple[str, str], **close: Any) -> None:
        expect_same(first()[0], scores(batch, reverse)[0], "image", ways, method, **close)

    yield Check(
        "a view of its access level suffices, it scores every image and writes to none", lambda: first()[0], method
    )
    yield Check("scores are finite", lambda: expect_finite(first()[0], "image", method), method)
    again = ("in one run", "in another")
    yield Check("scores are the same twice", lambda: alike(16, False, again), method)
    sizes = ("in batches of 16", "in batches of 11")
    yield Check("batch size does not change them", lambda: alike(11, False, sizes, **CLOSE), method)
    orders = ("in order", "in reverse order")
    yield Check("order does not change them", lambda: alike(16, True, orders, **CLOSE), method)
    if counted:
        yield Check("queries are counted", lambda: expect_queries(first()[1], method), method)


def expect_queries(queries: float, method: Callable[..., Any]) -> None:
    """An attack that needs answers asked for some."""
    expect(queries > 0, "at least one query an image through the view", f"{queries:g}", method)

"""One conformance check, what it found, and the comparisons that checks are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

CLOSE: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-4}  # of numbers computed in other batches


class CheckFailed(Exception):
    """A check did not find what it expected. `method`: the plugin's method that answered, if one did."""

    def __init__(
        self, expected: str, got: str, method: Callable[..., Any] | type | None = None, where: str = ""
    ) -> None:
        super().__init__(f"expected {expected}; got {got}")
        self.expected, self.got, self.method, self.where = expected, got, method, where


@dataclass(frozen=True)
class Check:
    """One check: `run` raises CheckFailed, or whatever the plugin raises. `method`: what it calls, named where an error
    passes no line of the plugin. `skip`: why it is not run, or ""."""

    name: str
    run: Callable[[], object]
    method: Callable[..., Any] | type | None = None
    skip: str = ""


@dataclass(frozen=True)
class CheckResult:
    """Outcome of a check. where: "file:line (function)" in the plugin's code, and the line itself; expected and got:
    one sentence each. These are empty where it passed. skip: why it was not run, or ""."""

    name: str
    passed: bool
    where: str = ""
    expected: str = ""
    got: str = ""
    skip: str = ""

    def __str__(self) -> str:
        if self.skip:
            return f"skip {self.name}: {self.skip}"
        if self.passed:
            return f"ok   {self.name}"
        lines = [f"FAIL {self.name}", *self.where.splitlines(), f"expected: {self.expected}", f"got: {self.got}"]
        return "\n     ".join(lines)


def expect(condition: bool, expected: str, got: str, method: Callable[..., Any] | type | None = None) -> None:
    """Raise CheckFailed unless the condition holds."""
    if not condition:
        raise CheckFailed(expected, got, method)


def expect_finite(values: np.ndarray | Tensor, what: str, method: Callable[..., Any]) -> None:
    """Every number of an array (N, ...) is finite."""
    array = np.asarray(values)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        first = tuple(int(place) for place in bad[0])
        raise CheckFailed(
            f"{array.size} finite numbers",
            f"{len(bad)} that are not; the first is {array[first]} in {what} {first[0]}",
            method,
        )


def expect_same(
    first: np.ndarray | Tensor,
    second: np.ndarray | Tensor,
    what: str,
    ways: tuple[str, str],
    method: Callable[..., Any],
    hint: str = "",
    **close: Any,
) -> None:
    """Two arrays (N, ...) of one shape are equal, or close where `close` has a tolerance. `ways`: how each was made."""
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape:
        raise CheckFailed(f"one shape {ways[0]} and {ways[1]}", f"{a.shape} and {b.shape}", method)
    alike = np.isclose(a, b, **close) if close else a == b
    if not alike.all():
        place = tuple(int(i) for i in np.argwhere(~alike)[0])
        expected = f"the same numbers {ways[0]} and {ways[1]}" + (
            f", to {close['rtol']:g} of their size" if close else ", bit for bit"
        )
        raise CheckFailed(
            f"{expected}{hint}",
            f"{a[place]:.6g} {ways[0]} and {b[place]:.6g} {ways[1]} in {what} {place[0]} "
            f"({int((~alike).sum())} of {alike.size} differ)",
            method,
        )


def expect_images(images: Tensor, count: int, shape: tuple[int, ...], method: Callable[..., Any]) -> None:
    """float32 images (count, *shape), finite, in [-1, 1]."""
    wanted = (count, *shape)
    kind = f"{str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
    expect(images.dtype == torch.float32 and tuple(images.shape) == wanted, f"float32 images {wanted}", kind, method)
    expect_finite(images, "image", method)
    least, most = float(images.min()), float(images.max())
    expect(least >= -1 and most <= 1, "pixels in [-1, 1]", f"pixels from {least:.4g} to {most:.4g}", method)

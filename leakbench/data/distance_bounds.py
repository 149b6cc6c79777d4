"""Bounds on squared distances by products in float32: cheap, and proven, so that float64 decides on a few pairs alone.

Rows a, b are moved by one centre and scaled by one power of two, which changes no distance but its unit: a', b'. Then
low + shift - slack <= |a' - b'|^2 <= low + shift + slack + 2 eps (|a'|^2 + |b'|^2), with u = 2^-24, because:
1. A sum of n products in float32, in any order, is off by at most g = n u / (1 - n u) times the sum of their magnitudes
   (Higham 2002, 3.1), here |a'| |b'| <= (|a'|^2 + |b'|^2) / 2. Columns come in runs of 1,024, whose sums are added up,
   so that n is 1,024 and a few for rows of any length. A norm obeys the same; -2 a'.b' and |b'|^2 together twice that.
2. Centring rounds each number by u of itself, which moves |a' - b'| by u (|a'| + |b'|) and its square by less than
   4 u (|a'|^2 + |b'|^2). The distance that is summed in float64 is off by D 2^-51 of itself, less than u.
3. So eps = 4 n u is enough. Whatever underflows is below 2^-126 an operation: slack = D 2^-120.

Rows too long for float32 after scaling get the bound -inf and vouch for nothing. Where products may round their inputs
(TF32, bfloat16), eps grows by what this costs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp, inf, isfinite
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_RUN = 1024  # columns whose products one float32 sum holds
_UNIT = 2.0**-24
_ROUNDED = 2.0**-5  # twice what cutting both inputs to 8 bits can change, over the sum of the squared lengths
_LONGEST = 2.0**100  # a squared length that float32 holds, whatever is added to it
_FULL = ("none", "ieee")  # precisions of a product that rounds no input


@dataclass(frozen=True)
class Frame:
    """`origin` (D,) float64 = minus the centre times `scale`; rows have `parts` equal runs of columns. The relative and
    the absolute part of the bound: `eps`, `slack`."""

    origin: Tensor
    scale: float
    parts: int
    eps: float
    slack: float

    @classmethod
    def of(cls, base: Tensor, queries: Tensor, parts: int) -> Frame:
        """Fits rows like these few (n, D) of the base and of the queries: any frame is right, a good one is fast."""
        few = base.double()
        centre = few.mean(dim=0).nan_to_num(0.0, 0.0, 0.0)
        largest = max(float((rows - centre).abs().max()) for rows in (few, queries.double()) if len(rows))
        power = frexp(largest)[1] if isfinite(largest) else 0
        scale = 2.0 ** max(-100, min(100, -power))
        width = base.shape[1]
        terms = min(_RUN, width) + width // _RUN + 32
        eps = 4 * terms * _UNIT + (_ROUNDED if _inputs_are_rounded(base.device) else 0.0)
        origin = (-centre * scale).float().double()  # the same number to rows of either type
        return cls(origin, scale, parts, eps, width * 2.0**-120)

    @property
    def runs(self) -> list[list[slice]]:
        """Runs of columns of each part."""
        width = len(self.origin) // self.parts
        starts = range(0, len(self.origin), width)
        return [[slice(s, min(s + _RUN, start + width)) for s in range(start, start + width, _RUN)] for start in starts]

    def rows(self, rows: Tensor) -> Rows:
        """Rows (n, D) in this frame. Raises ValueError when a value is not finite."""
        rows = rows.detach()
        wide = rows if rows.dtype in (torch.float32, torch.float64) else rows.double()
        origin = self.origin.to(wide.dtype)
        runs = [
            [torch.add(origin[s], wide[:, s], alpha=self.scale).float().contiguous() for s in part]
            for part in self.runs
        ]
        squares = [torch.stack([_squared_lengths(run) for run in part]).sum(dim=0) for part in runs]
        whole = torch.stack(squares).sum(dim=0)
        wild = ~(whole < _LONGEST)
        if bool(wild.any()):
            if not bool(wide[wild].isfinite().all()):
                raise ValueError("distances need finite values, and some are NaN or infinite")
            for part in runs:
                for run in part:
                    run[wild] = 0.0
        return Rows(self, runs, squares, whole, wild)


@dataclass(frozen=True)
class Rows:
    """Rows of a base: runs of columns (n, w) float32 by part, squared lengths (n,) float64 of the parts and of whole
    rows, and bool (n,) of those too long for float32."""

    frame: Frame
    runs: list[list[Tensor]]
    squares: list[Tensor]
    whole: Tensor
    wild: Tensor

    def as_queries(self) -> Queries:
        """The same rows as the other side of a product."""
        factors = [[_factor(run.mul_(-2.0)) for run in part] for part in self.runs]
        lengths = [(square * (1 - self.frame.eps)).masked_fill_(self.wild, 0.0) for square in self.squares]
        shift = lengths[0] if len(lengths) == 1 else torch.zeros_like(self.whole)
        return Queries(self.frame, factors, lengths, shift, self.whole, self.wild)


@dataclass(frozen=True)
class Queries:
    """Queries, ready for products. `shift` (n,) float64 is to be added to their bounds."""

    frame: Frame
    factors: list[list[Any]]
    lengths: Sequence[Tensor]
    shift: Tensor
    whole: Tensor
    wild: Tensor

    def low(self, base: Rows) -> Tensor:
        """`low` (n, m) float32: low + shift - slack is at most the squared distance to each row of the base."""
        found = None
        for factors, runs, ours, theirs in zip(self.factors, base.runs, self.lengths, base.squares, strict=True):
            first = (theirs * (1 - self.frame.eps)).float().masked_fill_(base.wild, -inf)
            value = _product(factors[0], runs[0], first)
            for factor, run in zip(factors[1:], runs[1:], strict=True):
                value += _product(factor, run, None)
            if len(self.factors) > 1:
                value += ours[:, None].float()
            found = value if found is None else torch.maximum(found, value, out=found)
        assert found is not None
        return found

    def limit(self, squared: Tensor) -> Tensor:
        """Limits (n,) float32 on `low`, beyond which a row is farther than this squared distance, float64 (n,)."""
        exact = (squared - self.shift + self.frame.slack).masked_fill(self.wild & (squared > -inf), inf)
        return torch.nextafter(exact.float(), torch.full_like(exact, inf, dtype=torch.float32))

    def high(self, low: Tensor, rows: Any, whole: Tensor) -> Tensor:
        """Squared distances that bounds `low` of these rows do not exceed, to base rows of squared lengths `whole`."""
        ours = torch.where(self.wild, inf, self.whole)[rows]
        shift = self.shift[rows]
        if low.dim() > 1:
            ours, shift = ours[:, None], shift[:, None]
        found = low.double() + shift + 2 * self.frame.eps * (ours + whole) + 2 * self.frame.slack
        return found.masked_fill_(low == -inf, inf)


def _squared_lengths(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1).double().square()


def _factor(rows: Tensor) -> Tensor:
    """Laid out for oneDNN on the CPU, whose float32 product takes half the time of MKL's on AMD."""
    return rows.to_mkldnn() if rows.device.type == "cpu" and torch.backends.mkldnn.is_available() else rows


def _product(queries: Tensor, base: Tensor, first: Tensor | None) -> Tensor:
    """`first` (m,) + queries (n, w) x base (m, w), (n, m)."""
    with torch.autocast(base.device.type, enabled=False):
        found = F.linear(queries, base, first)
    return found.to_dense() if found.is_mkldnn else found


def _inputs_are_rounded(device: torch.device) -> bool:
    """Tell whether this process lets a float32 product round its inputs to fewer bits."""
    backend = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    asked = [
        os.environ.get(name, "strict").lower() for name in ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE")
    ]
    return backend.matmul.fp32_precision not in _FULL or any(mode != "strict" for mode in asked)

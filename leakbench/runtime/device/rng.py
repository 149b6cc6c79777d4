"""Random streams: counter-based numbers, the same whatever is drawn beside them.

Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11): a number depends on a key (what it
is for) and a counter (which image, which draw, which element) and on nothing else. Any element can be made alone, in
any order, on CPU or CUDA. The integers are the same on every device, bit for bit; normals pass through the device's own
log and cos in float64 before they are rounded to float32, so two devices differ by one unit in the last place at most.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Philox4x32-10 of int64 tensors that hold 32-bit words. Returns four tensors of 32-bit words (as int64)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # int64 products wrap modulo 2^64, so both halves come out right after masking the sign extension away.
        low0, low1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((low1 >> 32) & _MASK) ^ c1 ^ k0,
            low1 & _MASK,
            ((low0 >> 32) & _MASK) ^ c3 ^ k1,
            low0 & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


@dataclass(frozen=True)
class RngStream:
    """Random numbers for one purpose. `ids` say which image (or step), `draw` which of its draws.

    `ids` are integers 0 .. 2^32 - 1, shape (N,), on the device on which the numbers are wanted; `draw` is an integer
    0 .. 2^32 - 1; `shape` is the shape of one image's numbers. Results have shape (N, *shape).
    """

    key: tuple[int, int]

    def words(self, ids: Tensor, count: int, draw: int = 0) -> Tensor:
        """Uniform 32-bit words as int64, shape (N, count)."""
        ids = ids.to(torch.int64)
        return self._words(torch.stack([torch.full_like(ids, draw), ids, torch.zeros_like(ids)], dim=1), count)

    def _words(self, rows: Tensor, count: int) -> Tensor:
        """Words (N, count) of counters whose first word is the block and whose others are `rows` (N, 3)."""
        blocks = torch.arange(math.ceil(count / 4), device=rows.device, dtype=torch.int64)
        counter = (blocks[None, :], rows[:, :1], rows[:, 1:2], rows[:, 2:])
        words = torch.stack(torch.broadcast_tensors(*philox(counter, self.key)), dim=-1)
        return words.flatten(1)[:, :count]

    def uniform(self, ids: Tensor, shape: tuple[int, ...] = (), draw: int = 0) -> Tensor:
        """Uniform on (0, 1), float64."""
        return _uniform(self.words(ids, math.prod(shape), draw)).reshape(len(ids), *shape)

    def integers(self, ids: Tensor, high: int, shape: tuple[int, ...] = (), draw: int = 0) -> Tensor:
        """Uniform on 0 .. high - 1, int64 (bias below high / 2^32, which no experiment here can see).

        Raises ValueError above 2^31, where the product would overflow.
        """
        if high > 2**31:
            raise ValueError(f"integers below {high} asked for; 2^31 is the most")
        words = self.words(ids, math.prod(shape), draw)
        return ((words * high) >> 32).reshape(len(ids), *shape)

    def normal(self, ids: Tensor, shape: tuple[int, ...] = (), draw: int = 0) -> Tensor:
        """Standard normal by Box and Muller, float32."""
        count = math.prod(shape)
        return _normal(self.words(ids, count + count % 2, draw), shape)

    def normal_of(self, digest: Tensor, shape: tuple[int, ...] = ()) -> Tensor:
        """Standard normal (N, *shape), float32, for rows known by a digest (N, 3) of 32-bit words in place of a number:
        see `row_digest`."""
        count = math.prod(shape)
        return _normal(self._words(digest, count + count % 2), shape)


def _uniform(words: Tensor) -> Tensor:
    """Numbers in (0, 1), float64, of uniform 32-bit words; never 0 and never 1."""
    return (words.double() + 0.5) / 2.0**32


def _normal(words: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Standard normal (N, *shape) of words (N, even count), pair by pair (Box and Muller)."""
    pairs = _uniform(words).unflatten(1, (-1, 2))
    radius, angle = torch.sqrt(-2.0 * torch.log(pairs[..., 0])), 2.0 * math.pi * pairs[..., 1]
    both = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)
    return both.flatten(1)[:, : math.prod(shape)].float().reshape(len(words), *shape)


@dataclass(frozen=True)
class Rng:
    """The random streams of one (dataset, seed): a stream for each purpose, independent of every other."""

    dataset: str
    seed: int

    def of(self, *purpose: object) -> RngStream:
        """The stream of a purpose, named by words and numbers: of("attack noise"), of("train", "cpsample")."""
        text = "\x1f".join(map(str, (self.dataset, self.seed, *purpose)))
        digest = hashlib.sha256(text.encode()).digest()
        return RngStream((int.from_bytes(digest[:4], "big"), int.from_bytes(digest[4:8], "big")))


@contextmanager
def seeded(stream: RngStream, number: int = 0, device: torch.device | None = None) -> Iterator[None]:
    """torch's own generators, seeded by a stream for the time being: for what can draw from nothing else.

    Initialisers, dropout, other libraries' augmentations. The same on one kind of device, not between kinds.
    """
    word = stream.key[0] << 31 | stream.key[1] >> 1
    word ^= number * 0x9E3779B97F4A7C15 & 0x7FFFFFFFFFFFFFFF  # far apart for neighbouring numbers
    cuda = device is not None and device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(word)
        if cuda:
            torch.cuda.manual_seed(word)
        yield

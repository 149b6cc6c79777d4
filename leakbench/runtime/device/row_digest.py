"""Digest of every row of a batch: 96 bits, the same on every device and whatever else is in the batch.

Multilinear hashing (Lemire & Kaser 2014, "Strongly universal string hashing is fast", 1202.4961): the row's 32-bit
words times random 64-bit keys, summed modulo 2^64, of which the upper 32 bits are kept. Integer sums wrap and do not
round, so the order in which a device adds them does not show. Two rows share a digest with probability 2^-96.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from leakbench.runtime.device.rng import RngStream

_MASK = 0xFFFFFFFF
_WORDS = 3  # of the digest


def row_digest(stream: RngStream, rows: Tensor, *numbers: Tensor) -> Tensor:
    """Digest (N, 3), 32-bit words as int64, of the bits of float32 rows (N, ...) and of further integers (N,).

    The keys come from `stream`: another stream gives an unrelated digest. Integers are taken modulo 2^32. Other kinds
    of float are converted to float32 first. 0.0 and -0.0 differ.
    """
    bits = rows.detach().float().flatten(1).contiguous().view(torch.int32).to(torch.int64)
    words = torch.cat([bits, *(number.to(rows.device, torch.int64)[:, None] for number in numbers)], dim=1) & _MASK
    words = F.pad(words, (0, 1), value=1)  # ends every row, so that a further 0 is another row
    halves = stream.words(torch.arange(2 * _WORDS, device=rows.device), words.shape[1] + 1)
    keys = halves[::2] << 32 | halves[1::2]
    return torch.stack([(((words * key[1:]).sum(dim=1) + key[0]) >> 32) & _MASK for key in keys], dim=1)

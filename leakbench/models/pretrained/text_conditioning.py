"""Captions to what a text-conditional network is told, by the pipeline's own tokenizers and text encoders.

A label is the number of its caption in the captions file (leakbench.data.caption_file). Equal captions are encoded and
kept once. As an encoder can be larger than the denoiser, it is let go before that is read; and what it made is kept in
the cache folder, by a key of the files that it was made from, so that no second process makes it again.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from leakbench.data.caption_file import read
from leakbench.runtime.device import in_batches
from leakbench.runtime.errors import UsageError

if TYPE_CHECKING:
    from leakbench.models.pretrained.families.family import Family

_ROWS = 32  # captions that the encoder is given at one time


def missing_transformers() -> UsageError:
    """Error that says how to install transformers."""
    return UsageError("a text-conditional model needs the transformers library: pip install 'leakbench[text]'")


@lru_cache(maxsize=8)
def read_captions(path: str) -> tuple[str, ...]:
    """The captions of a file, in order. Raises UsageError."""
    return read(Path(path)).texts


def embed_captions(tokenizer: Any, encoder: Any, captions: list[str], device: torch.device) -> Tensor:
    """CLIP's embeddings (K + 1, length, width) of captions and, last, of the empty one, as in Stable Diffusion: padded
    and cut to the tokenizer's length, the encoder's last hidden state after its final norm."""
    length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    tokens = tokenizer([*captions, ""], padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    masked = bool(getattr(encoder.config, "use_attention_mask", False))

    def batch(ids: Tensor, mask: Tensor) -> Tensor:
        found: Tensor = encoder(ids, attention_mask=mask if masked else None)[0]
        return found

    return in_batches(batch, tokens.input_ids.to(device), tokens.attention_mask.to(device), size=_ROWS)


def tell_captions(family: Family, pipeline: Any, captions: tuple[str, ...], device: torch.device) -> dict[str, Tensor]:
    """What the network is told of captions and, last, of none (leakbench.models.pretrained.families): tensors by name,
    a row each, float32 or masks, on the CPU."""
    told: list[dict[str, Tensor]] = []
    with torch.no_grad():
        for first in range(0, max(len(captions), 1), _ROWS - 1):
            part = family.tell(pipeline, list(captions[first : first + _ROWS - 1]), device)
            told.append({name: _kept(rows) for name, rows in part.items()})
    return {name: _one_after_another([part[name] for part in told]) for name in told[-1]}


def join_told(before: Tensor, more: Tensor) -> Tensor:
    """Rows of captions, those of further captions, and the last row of `before`, that of none."""
    return _one_after_another([more, before[-1:]], first=before[:-1])


def _one_after_another(parts: list[Tensor], first: Tensor | None = None) -> Tensor:
    """The rows of parts but for each one's last, and the last's last. Captions of other lengths (dimension 1), of which
    a mask says which are words, are filled up with zeros."""
    rows = [*([] if first is None else [first]), *(part[:-1] for part in parts), parts[-1][-1:]]
    if rows[0].ndim < 2:
        return torch.cat(rows)
    longest = max(part.shape[1] for part in rows)
    return torch.cat([fill_up(part, longest) for part in rows])


def fill_up(rows: Tensor, length: int) -> Tensor:
    """Rows (K, L, ...) with zeros after their L tokens, (K, length, ...)."""
    if rows.shape[1] == length:
        return rows
    empty = rows.new_zeros(len(rows), length - rows.shape[1], *rows.shape[2:])
    return torch.cat([rows, empty], dim=1)


def _kept(rows: Tensor) -> Tensor:
    return (rows.float() if rows.is_floating_point() else rows).cpu()

"""Captions to what a text-conditional network is given, by the pipeline's own tokenizer and text encoder.

As in Stable Diffusion: padded and cut to the tokenizer's length, the encoder's last hidden state after its final norm.
A label is the number of its caption in the captions file (leakbench.data.caption_file). What each caption is turned
into is kept on the device, once for equal captions: 77 x 768 numbers, a quarter of a megabyte.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leakbench.data.caption_file import read
from leakbench.runtime.device import in_batches
from leakbench.runtime.errors import UsageError

_ROWS = 32  # captions that the encoder is given at one time


def missing_transformers() -> UsageError:
    """Error that says how to install transformers."""
    return UsageError("a text-conditional model needs the transformers library: pip install 'leakbench[text]'")


@lru_cache(maxsize=8)
def read_captions(path: str) -> tuple[str, ...]:
    """The captions of a file, in order. Raises UsageError."""
    return read(Path(path)).texts


def embed_captions(
    tokenizer: Any, encoder: Any, captions: tuple[str, ...], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Embeddings (K + 1, length, width) of the distinct captions and, last, of the empty one; and which of them each
    caption is, int64 (len(captions),)."""
    distinct = list(dict.fromkeys(captions))
    number = {caption: at for at, caption in enumerate(distinct)}
    length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    tokens = tokenizer([*distinct, ""], padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    masked = bool(getattr(encoder.config, "use_attention_mask", False))

    def batch(ids: Tensor, mask: Tensor) -> Tensor:
        found: Tensor = encoder(ids, attention_mask=mask if masked else None)[0]
        return found

    with torch.no_grad():
        table = in_batches(batch, tokens.input_ids.to(device), tokens.attention_mask.to(device), size=_ROWS)
    return table.float(), torch.tensor([number[caption] for caption in captions], device=device)

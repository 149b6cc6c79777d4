"""Draws the samples of a release and reads them back from the cache."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from leakbench.api import Release
from leakbench.measurement.keys import Parts, code_parts, hash_parts
from leakbench.runtime import distributed
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.cache.key_file import write_key_parts
from leakbench.runtime.device import record_execution
from leakbench.runtime.tensor_file import save_blocks

_FILE, _FACTS = "samples.safetensors", "facts.json"
_ELEMENTS = 2**25  # numbers that are drawn between two writes, at the least one compute batch: 128 MiB


def samples_parts(release: Parts, count: int, forgotten: int | None = None) -> Parts:
    """Parts of the key of a release's samples; `forgotten`: the label of the further ones."""
    return {"release": release, "count": count, "forgotten": forgotten, **code_parts(draw_samples)}


def load_or_draw_samples(
    cache: ArtefactCache, parts: Parts, release: Any, count: int, forgotten: int | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Samples of a release and facts about drawing them, drawn where the cache has none. `release()` answers it."""

    def make(folder: Path) -> None:
        facts = draw_samples(release(), count, folder / _FILE, forgotten)
        (folder / _FACTS).write_text(json.dumps(facts, sort_keys=True))
        write_key_parts(folder, parts)

    folder = cache.get_or_make(hash_parts(parts), make)
    return load_file(folder / _FILE), json.loads((folder / _FACTS).read_text())


def draw_samples(release: Release, count: int, path: Path, forgotten: int | None = None) -> dict[str, Any]:
    """Write "samples", the first `count` samples, into a safetensors file, and where a label is `forgotten`
    "conditioned": half as many further ones of it. Answers facts: what sampling showed, "sample_seconds" among them.

    Large samples are drawn and written some compute batches at a time, which changes no bit of them.
    """
    facts: dict[str, Any] = {}

    def samples() -> Iterator[Tensor]:
        began = time.perf_counter()
        yield from _blocks(release, count)
        facts.update(release.facts() | {"sample_seconds": time.perf_counter() - began})

    drawn = {"samples": samples()}
    if forgotten is not None:
        drawn["conditioned"] = _blocks(release, count // 2, torch.full((count // 2,), forgotten), count)
    with record_execution() as notes:
        save_blocks(drawn, path)
        return facts | notes()


def _blocks(release: Release, count: int, label: Tensor | None = None, first: int = 0) -> Iterator[Tensor]:
    """The samples first .. first + count - 1, in blocks of whole compute batches of every process of a group."""
    together = release.batch * distributed.world_size()
    _, *sides = release.shape
    numbers = prod(release.shape) if release.codec is None else 3 * 64 * prod(sides)  # a latent is of 8 x 8 pixels
    size = _ELEMENTS // numbers // together * together or together
    for start in range(0, count, size):
        stop = min(start + size, count)
        yield release.sample(stop - start, None if label is None else label[start:stop], first=first + start)

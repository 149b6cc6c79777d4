"""Draws the samples of a release and reads them back from the cache."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from leakbench.api import Release
from leakbench.measurement.keys import Parts, code_parts, hash_parts
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.cache.key_file import write_key_parts
from leakbench.runtime.device import record_execution

_FILE, _FACTS = "samples.safetensors", "facts.json"


def samples_parts(release: Parts, count: int, forgotten: int | None = None) -> Parts:
    """Parts of the key of a release's samples; `forgotten`: the label of the further ones."""
    return {"release": release, "count": count, "forgotten": forgotten, **code_parts(draw_samples)}


def load_or_draw_samples(
    cache: ArtefactCache, parts: Parts, release: Any, count: int, forgotten: int | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Samples of a release and facts about drawing them, drawn where the cache has none. `release()` answers it."""

    def make(folder: Path) -> None:
        drawn, facts = draw_samples(release(), count, forgotten)
        save_file(drawn, folder / _FILE)
        (folder / _FACTS).write_text(json.dumps(facts, sort_keys=True))
        write_key_parts(folder, parts)

    folder = cache.get_or_make(hash_parts(parts), make)
    return load_file(folder / _FILE), json.loads((folder / _FACTS).read_text())


def draw_samples(
    release: Release, count: int, forgotten: int | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The first `count` samples; where a label is `forgotten`, "conditioned": half as many further ones of it. And
    facts: what sampling showed, "sample_seconds" among them."""
    began = time.perf_counter()
    with record_execution() as notes:
        drawn = {"samples": release.sample(count).contiguous()}
        facts = release.facts() | {"sample_seconds": time.perf_counter() - began}
        if forgotten is not None:
            asked = torch.full((count // 2,), forgotten)
            drawn["conditioned"] = release.sample(count // 2, asked, first=count).contiguous()
        facts |= notes()
    return drawn, facts

"""The scale of an adapter's delta: alpha / rank, where the alpha is found.

In this order: an alpha of the weight's own (kohya, LyCORIS); PEFT's settings, in adapter_config.json or in the header
that diffusers writes (lora_alpha, alpha_pattern, use_rslora); `ss_network_alpha` in kohya's header. Without any, alpha
is the rank, as diffusers and kohya have it: a LoRA that was trained with another alpha, and saved without it, is then
applied at another strength than it was trained at.
"""

from __future__ import annotations

import math
import re
from typing import Any

from leakbench.models.pretrained.lora.delta import Pieces, rank_of
from leakbench.models.pretrained.lora.files import Loaded, header_settings
from leakbench.models.pretrained.lora.names import flatten
from leakbench.runtime.errors import UsageError


def read_scale(pieces: Pieces, loaded: Loaded, part: str, place: str, where: str) -> float:
    """The scale of the delta at `place` of a part. Raises UsageError that begins with `where`."""
    settings, rank = header_settings(loaded, part), rank_of(pieces)
    if rank == 0:
        raise UsageError(f"{where}: an adapter of rank 0")
    if rank is None:  # LyCORIS then sets alpha = rank; PEFT does not
        rank = settings.get("r") if "lora_alpha" in settings or "alpha" in settings else None
        if rank is None:
            return 1.0
        rank = int(_number(rank, "r", where))
    if "alpha" in pieces:
        if pieces["alpha"].numel() != 1:
            raise UsageError(f"{where}: its alpha is not one number")
        return _number(float(pieces["alpha"]), "alpha", where) / rank
    if (alpha := _peft_alpha(settings, place, where)) is not None:
        return alpha / (math.sqrt(rank) if settings.get("use_rslora") is True else rank)
    if "ss_network_alpha" in loaded.header:
        return _number(loaded.header["ss_network_alpha"], "ss_network_alpha", where) / rank
    return 1.0


def _peft_alpha(settings: dict[str, Any], place: str, where: str) -> float | None:
    """Of PEFT: that of the first pattern that a place fits, else the one of all. LoHa and LoKr call it alpha."""
    patterns = settings.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise UsageError(f"{where}: alpha_pattern is not a table")
    for pattern, alpha in patterns.items():
        plain = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
        if re.search(r"[^\w.-]", plain):  # a stranger's regular expression is a program of a kind
            raise UsageError(f"{where}: alpha_pattern {pattern[:80]!r}: a regular expression, which is not read")
        flat = flatten(plain)
        if place == flat or (not pattern.startswith("^") and place.endswith(f"_{flat}")):
            return _number(alpha, "alpha_pattern", where)
    alpha = settings.get("lora_alpha", settings.get("alpha"))
    return None if alpha is None else _number(alpha, "lora_alpha", where)


def _number(value: Any, name: str, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool) or number <= 0:
        raise UsageError(f"{where}: {name} = {str(value)[:40]}: it should be a number above 0")
    return number

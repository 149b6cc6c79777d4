"""An adapter as deltas of a model's parts: checked before anything runs, merged when weights are read.

Refused in one line: keys that are no adapter's or name no weight of the model, shapes that do not fit, a delta of
nothing. A library that loads such a file warns, and then answers with the base model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from leakbench.models.pretrained.lora.delta import Delta, Pieces, lacks
from leakbench.models.pretrained.lora.files import Loaded, Source, find_sources, load_source
from leakbench.models.pretrained.lora.names import Key, read_key
from leakbench.models.pretrained.lora.places import find_places
from leakbench.models.pretrained.lora.scale import read_scale
from leakbench.runtime.errors import UsageError

Weights = Mapping[str, Tensor]
Deltas = dict[str, list[Delta]]  # by part


def read_adapter(name: str, parts: Mapping[str, Weights], trust_pickle: bool) -> Deltas:
    """The deltas of an adapter by part. parts: of each part that it may be for, the weights by name, which may be of
    the device "meta". Raises UsageError."""
    deltas: Deltas = {}
    for source in find_sources(name):
        for part, found in _read(source, load_source(source, trust_pickle), parts).items():
            deltas.setdefault(part, []).extend(found)
    if all(delta.is_zero() for found in deltas.values() for delta in found):
        raise UsageError(f"lora {name!r}: it adds nothing: a factor of every delta is zero, as before training")
    return deltas


def merge(network: nn.Module, deltas: Iterable[Delta], name: str) -> None:
    """Merge deltas into a network's weights, float32. Raises UsageError where no weight changes, or one is not finite
    any more."""
    changed = False
    weights = dict(network.named_parameters())
    with torch.no_grad():
        for delta in deltas:
            weight = weights[f"{delta.module}.weight"]
            merged = delta.merge(weight.float())
            if not bool(merged.isfinite().all()):
                raise UsageError(f"lora {name!r}: {delta.key} makes weights of {delta.module} that are not finite")
            changed |= not torch.equal(merged, weight)
            weight.copy_(merged)
    if not changed:
        raise UsageError(f"lora {name!r}: merging it changes no weight of the model")


def _read(source: Source, loaded: Loaded, parts: Mapping[str, Weights]) -> Deltas:
    where, places = str(source.file), {part: find_places(weights) for part, weights in parts.items()}
    found: dict[tuple[str, str], Pieces] = {}
    first: dict[tuple[str, str], str] = {}
    foreign: list[str] = []
    unknown: list[str] = []
    for text, tensor in loaded.tensors.items():
        key = read_key(text, source.part)
        if key is None:
            foreign.append(text)
        elif key.part in parts and key.place in places[key.part]:
            _add(found.setdefault((key.part, key.place), {}), key, tensor, f"{where}: {text}")
            first.setdefault((key.part, key.place), text)
        else:
            unknown.append(text)
    _refuse(where, len(loaded.tensors), foreign, unknown, parts)
    deltas: Deltas = {}
    for (part, place), pieces in found.items():
        key_of = f"{where}: {first[part, place]}"
        if wrong := lacks(pieces):
            raise UsageError(f"{key_of}: its weight {wrong}")
        scale = read_scale(pieces, loaded, part, place, key_of)
        delta = Delta(places[part][place], pieces, scale, first[part, place])
        _check_shape(delta, parts[part][f"{delta.module}.weight"], key_of)
        deltas.setdefault(part, []).append(delta)
    return deltas


def _add(pieces: Pieces, key: Key, tensor: Tensor, where: str) -> None:
    if key.piece in pieces:
        raise UsageError(f"{where}: a second {key.piece} for one weight: a file of two adapters; save one of them")
    pieces[key.piece] = tensor


def _refuse(where: str, count: int, foreign: list[str], unknown: list[str], parts: Mapping[str, Weights]) -> None:
    """Raise UsageError for keys that cannot be applied."""
    known = " and ".join(sorted("its network" if part == "body" else part for part in parts))
    if count == len(foreign) + len(unknown):
        such = f", such as {(unknown or foreign)[0]!r}" if count else ""
        raise UsageError(f"{where}: none of its {count} keys is a LoRA's for {known} of this model{such}")
    if foreign:
        raise UsageError(
            f"{where}: {len(foreign)} of {count} keys are not read, such as {foreign[0]!r}: known are LoRA, DoRA, LoHa "
            "and LoKr as kohya, LyCORIS, diffusers and PEFT name them"
        )
    if unknown:
        raise UsageError(
            f"{where}: {len(unknown)} of {count} keys name no weight of {known} of this model, such as {unknown[0]!r}: "
            "it was made for another"
        )


def _check_shape(delta: Delta, weight: Tensor, where: str) -> None:
    try:
        delta.to_meta().merge(weight.to("meta"))
    except (ValueError, RuntimeError, IndexError) as error:
        shape = "x".join(map(str, weight.shape))
        why = (str(error).splitlines() or ["shapes"])[0][:120]
        raise UsageError(f"{where}: does not fit {delta.module}, whose weight is {shape}: {why}") from None

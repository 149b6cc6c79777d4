"""Tensors by name of a file that some training loop saved: which of its tables is the network that is audited.

Loops save a table of the weights, or beside them their moving average, optimizer and step. Choices of ours: the moving
average is taken, since it is what such loops sample from, where it is kept by name, or as a list (`shadow_params`) in
the order of the weights beside it, of as many and the same shapes; prefixes that wrappers add (those of DDP,
torch.compile and EMA classes) are cut where all names have them. A list with no weights beside it is in the order of
the network's own parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from leakbench.models.pretrained.pickles import unpickle
from leakbench.models.pretrained.quantised import read_gguf
from leakbench.runtime.errors import UsageError, in_a_line

_AVERAGES = ("ema_state_dict", "state_dict_ema", "model_ema", "ema_model", "unet_ema", "ema")
_PLAIN = ("state_dict", "model_state_dict", "model", "net", "network", "unet", "module")
_PREFIXES = ("module.", "_orig_mod.", "ema_model.", "model.", "unet.", "net.", "network.")
_LDM = "model.diffusion_model."  # of single files of latent diffusion models, whose names are converted as they are


@dataclass(frozen=True)
class StateDict:
    """Tensors by name, and which they are, in words. unnamed: instead of these, a list in the order of the network's
    parameters."""

    tensors: dict[str, Tensor]
    remark: str
    unnamed: tuple[Tensor, ...] = ()

    def named(self, parameters: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
        """The tensors by name, those of a list by the names of `parameters`. Raises UsageError where a list is not as
        these are."""
        if not self.unnamed:
            return self.tensors
        found = _in_order(self.unnamed, parameters)
        if found is None:
            raise UsageError(
                f"{file}: its {len(self.unnamed)} weights without names are not, in number and shapes, those of the "
                f"network that its settings say, which has {len(parameters)}"
            )
        return found


def read_state_dict(file: Path, trust_pickle: bool) -> StateDict:
    """The network's tensors of a file. Raises UsageError."""
    if file.suffix == ".gguf":
        return StateDict(read_gguf(file), f"weights of {file.name}, as the float32 numbers that they stand for")
    found = _safetensors(file) if file.suffix == ".safetensors" else unpickle(file, trust_pickle)
    places, tensors, unread = _pick(found)
    shadow = _shadow(found)
    if not tensors and shadow:
        said = "the moving average (EMA), a list in the order of the network's parameters"
        return StateDict({}, f"weights of {file.name}[shadow_params], {said}", shadow)
    if not tensors:
        raise UsageError(f"{file}: not a file of weights: it holds no tensors by name")
    average = any(place in (*_AVERAGES, "ema_model.", "model_ema.") for place in places)
    where = "".join(f"[{place}]" for place in places if not place.endswith("."))
    what = "the moving average (EMA)" if average else "no moving average"
    more = "; a moving average beside them is kept without names, and is not read" if unread and not average else ""
    return StateDict(tensors, f"weights of {file.name}{where}, {what}{more}")


def _safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except (OSError, SafetensorError, ValueError) as error:
        raise UsageError(f"{file}: not a safetensors file: {in_a_line(error)[:120]}") from None


def _pick(found: Any) -> tuple[list[str], dict[str, Tensor], bool]:
    """Where the tensors lie, the tensors, and whether a moving average could not be read."""
    if isinstance(found, list | tuple):  # of the DDIM authors: model, optimizer, epoch, step, moving average
        found = {"model": found[0], "ema": found[-1] if len(found) > 4 else None} if found else {}
    if not isinstance(found, dict):
        return [], {}, False
    shadow: tuple[Tensor, ...] = ()
    unread, list_of = False, ""
    for name in (*_AVERAGES, *_PLAIN):
        if isinstance(found.get(name), dict | list):
            places, tensors, below = _pick(found[name])
            if tensors and (average := _in_order(shadow, tensors)):
                return [list_of, "shadow_params"], average, False
            if tensors:
                return [name, *places], tensors, unread or below
            if name in _AVERAGES:
                unread, shadow, list_of = True, _shadow(found[name]), name
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    averaged = {name: value for name, value in tensors.items() if name.startswith("ema_model.")}
    if averaged_ldm := _average_of_ldm(tensors):
        return ["model_ema."], averaged_ldm, False
    return (["ema_model."] if averaged else []), _without_prefixes(averaged or tensors), False


def _shadow(found: Any) -> tuple[Tensor, ...]:
    """The list of a moving average's weights, as EMA classes of score_sde and diffusers save it; () for none."""
    listed = found.get("shadow_params") if isinstance(found, dict) else None
    fits = isinstance(listed, list | tuple) and all(isinstance(one, Tensor) for one in listed)
    return tuple(listed) if listed is not None and fits else ()


def _in_order(shadow: tuple[Tensor, ...], named: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """A list by the names of other tensors; None where it has another number of them, or other shapes."""
    fits = len(shadow) == len(named) and all(a.shape == b.shape for a, b in zip(shadow, named.values(), strict=True))
    return dict(zip(named, shadow, strict=True)) if fits and shadow else None


def _average_of_ldm(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The denoiser by its moving average, whose names in a latent diffusion model's file have lost their dots; nothing
    where it is not whole."""
    names = {
        name: "model_ema." + name.removeprefix("model.").replace(".", "") for name in tensors if name.startswith(_LDM)
    }
    return {name: tensors[one] for name, one in names.items()} if all(one in tensors for one in names.values()) else {}


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    while tensors and not any(name.startswith(_LDM) for name in tensors):
        prefix = next((one for one in _PREFIXES if all(name.startswith(one) for name in tensors)), None)
        if prefix is None:
            break
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors

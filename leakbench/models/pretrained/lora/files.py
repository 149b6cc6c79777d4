"""Files of adapters: a file, or a folder of PEFT or of diffusers; found without torch, read as tensors and settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from leakbench.models.pretrained.lora.names import BODY
from leakbench.models.pretrained.weight_files import read_table
from leakbench.runtime.errors import UsageError
from leakbench.runtime.paths import user_path

if TYPE_CHECKING:
    from torch import Tensor

_SETTINGS = "adapter_config.json"
_STEMS = ("adapter_model", "pytorch_lora_weights")
_FOLDERS = {"unet": BODY, "transformer": BODY} | {f"text_encoder{n}": f"text_encoder{n}" for n in ("", "_2", "_3")}
_KINDS = ("LORA", "LOHA", "LOKR")


class Source(NamedTuple):
    """One file of an adapter. part: that it is for, "" where its keys say. settings: adapter_config.json, if any."""

    file: Path
    part: str
    settings: Path | None


class Loaded(NamedTuple):
    """Tensors of a file by key, PEFT's settings that lie beside it or {}, and the texts in its header."""

    tensors: dict[str, Tensor]
    settings: dict[str, Any]
    header: dict[str, str]


def find_sources(name: str) -> list[Source]:
    """The files of the adapter in a file or folder. Raises UsageError."""
    path = user_path(name)
    if path.is_file():
        return [Source(path, "", None)]
    if not path.is_dir():
        raise UsageError(f"lora {name!r}: no such file or folder")
    parts = [path / folder for folder in _FOLDERS if (path / folder / _SETTINGS).is_file()]
    if parts and not (path / _SETTINGS).is_file():
        return [Source(_weights(one), _FOLDERS[one.name], one / _SETTINGS) for one in parts]
    settings = path / _SETTINGS
    return [Source(_weights(path), "", settings if settings.is_file() else None)]


def source_files(name: str) -> list[Path]:
    """Every file that is read of an adapter."""
    return [file for source in find_sources(name) for file in (source.file, source.settings) if file is not None]


def _weights(folder: Path) -> Path:
    """The one file of weights in a folder. Raises UsageError."""
    for ending in ("safetensors", "bin"):
        for stem in _STEMS:
            if (file := folder / f"{stem}.{ending}").is_file():
                return file
    others = sorted(folder.glob("*.safetensors"))
    if len(others) != 1:
        what = "no adapter's weights" if not others else f"{len(others)} files of weights: pass one of them"
        raise UsageError(f"lora {str(folder)!r}: {what}; a folder should hold {_STEMS[0]}.safetensors or one other")
    return others[0]


def load_source(source: Source, trust_pickle: bool) -> Loaded:
    """Read a file. Raises UsageError for what is no adapter's."""
    from leakbench.models.pretrained.pickles import load_pickle

    settings = read_table(source.settings) if source.settings else {}
    kind = settings.get("peft_type", "LORA")
    if kind not in _KINDS:
        raise UsageError(
            f"{source.settings}: peft_type = {str(kind)[:40]!r} is not known; known are {', '.join(_KINDS)}"
        )
    if source.file.suffix != ".safetensors":
        tensors, header = load_pickle(source.file, trust_pickle), dict[str, str]()
    else:
        tensors, header = _load(source.file)
    for key, one in tensors.items():
        if not isinstance(key, str) or not hasattr(one, "is_floating_point") or not one.is_floating_point():
            raise UsageError(f"{source.file}: {key} holds no floating-point numbers")
    return Loaded({key: one.float() for key, one in tensors.items()}, settings, header)


def _load(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: not a safetensors file: {error}") from None


def header_settings(loaded: Loaded, part: str) -> dict[str, Any]:
    """PEFT's settings for a part: of adapter_config.json, else those that diffusers wrote into the header."""
    if loaded.settings:
        return loaded.settings
    try:
        written = json.loads(loaded.header.get("lora_adapter_metadata", "{}"))
    except ValueError:
        return {}
    heads = ("unet.", "transformer.") if part == BODY else (f"{part}.",)
    if not isinstance(written, dict):
        return {}
    return {key.removeprefix(head): value for key, value in written.items() for head in heads if key.startswith(head)}

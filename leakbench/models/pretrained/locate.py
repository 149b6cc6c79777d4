"""Locating a model: a folder, or a hub id whose files are in the hub's cache or can be fetched into it."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from leakbench.runtime.errors import UsageError
from leakbench.runtime.paths import user_path

# Data alone, never programs: whoever wants a repository's code downloads it, reads it and passes the folder. Of weights
# those that are read, and pickles only where there is nothing else.
_SETTINGS = ["*.json", "*.txt"]
_WEIGHTS = ["*/*.safetensors", "diffusion_pytorch_model*.safetensors"]
_PICKLES = ["*/*.bin", "diffusion_pytorch_model*.bin"]
_UNWANTED = ["safety_checker/*", "*.fp16.*", "*.non_ema.*", "*flax*", "*openvino*", "*onnx*"]


def locate_folder(name: str) -> Path:
    """The folder of a model by path or hub id. Raises UsageError that says what to do."""
    path = user_path(name)
    if path.is_dir():
        return path
    if path.is_file():
        raise UsageError(
            f"model {name!r}: a single file; pass the folder that diffusers' save_pretrained wrote, or "
            "module:FILE.py:function"
        )
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith("."):
        raise UsageError(f"model {name!r}: no such folder, and no hub id (owner/name)")
    return _snapshot(name)


def adapter_file(name: str) -> Path:
    """FILE.py of module:FILE.py:function. Raises UsageError."""
    parts = name.split(":")
    if len(parts) != 3 or not Path(parts[1]).is_file():
        raise UsageError(f"model {name!r}: write module:FILE.py:function, FILE.py being there")
    return Path(parts[1])


@lru_cache
def _snapshot(name: str) -> Path:
    try:
        folder = _fetched(name, [*_SETTINGS, *_WEIGHTS])
        return folder if any(folder.rglob("*.safetensors")) else _fetched(name, [*_SETTINGS, *_PICKLES])
    except Exception as error:  # of the hub's client, of its network library or of the operating system
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UsageError(
            f"model {name!r}: no such folder, and the hub's files cannot be had ({type(error).__name__}: {why[:120]}); "
            f"on a machine with network: huggingface-cli download {name} --local-dir FOLDER, then pass FOLDER"
        ) from None


def _fetched(name: str, wanted: list[str]) -> Path:
    """The folder in the hub's cache, filled unless the network is not to be used."""
    from huggingface_hub import snapshot_download

    from leakbench.runtime.download.resource import is_offline

    return Path(
        snapshot_download(name, allow_patterns=wanted, ignore_patterns=_UNWANTED, local_files_only=is_offline())
    )

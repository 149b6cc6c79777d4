"""Folders that training scripts leave: a run with its `checkpoint-N/`, and in each of these the networks at step N.

diffusers' training scripts save `unet/` or `transformer/` and, with --use_ema, beside it the moving average of its
weights. The average is what their final pipeline holds, so it is the one that is audited. Whatever else lies in a
checkpoint (optimizer states, random states, which are pickles) is not read.
"""

from __future__ import annotations

import re
from pathlib import Path

from leakbench.runtime.errors import UsageError

_NETWORKS = ("unet_ema", "transformer_ema", "unet", "transformer")  # the one that is taken first
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def step_of(folder: Path) -> int | None:
    """Training step by a checkpoint's name, checkpoint-N; None for other names."""
    found = _CHECKPOINT.fullmatch(folder.name)
    return int(found[1]) if found else None


def is_checkpoint(folder: Path) -> bool:
    """Tell whether networks of a training step lie in a folder that no model_index.json makes a pipeline."""
    return not is_model(folder) and any((folder / name / "config.json").is_file() for name in _NETWORKS)


def find_network(folder: Path) -> tuple[Path, str]:
    """The network of a checkpoint that is audited, and a remark that says which. Raises UsageError for none."""
    found = [folder / name for name in _NETWORKS if (folder / name / "config.json").is_file()]
    if not found:
        adapter = any(folder.glob("pytorch_lora_weights*")) or any(folder.glob("adapter_model*"))
        why = "an adapter, which belongs on its base" if adapter else "a checkpoint without a network"
        raise UsageError(f"{folder}: {why}; it should hold one of {', '.join(_NETWORKS)}, with a config.json")
    return found[0], describe_network(found[0])


def describe_network(network: Path) -> str:
    """A remark on which network of a checkpoint is audited, and on the other one where there are two."""
    title = f"{network.parent.name}/{network.name}"
    is_average, plain = network.name.endswith("_ema"), network.name.removesuffix("_ema")
    other = network.parent / (plain if is_average else f"{plain}_ema")
    also = f" (the other, {other.name}, is audited by its own folder)" if (other / "config.json").is_file() else ""
    return f"weights of {title}, {'the moving average (EMA)' if is_average else 'no moving average'}{also}"


def network_of_checkpoint(folder: Path) -> bool:
    """Tell whether a folder is one of the networks of a checkpoint-N folder."""
    return folder.name in _NETWORKS and step_of(folder.parent) is not None and is_checkpoint(folder.parent)


def newest_checkpoint(run: Path) -> Path | None:
    """The checkpoint of the highest step of a run whose folder holds no finished model; None for other folders."""
    if is_model(run):
        return None
    steps = {step: path for path in run.glob("checkpoint-*") if path.is_dir() and (step := step_of(path)) is not None}
    return steps[max(steps)] if steps else None


def is_model(folder: Path) -> bool:
    """Tell whether a folder is what save_pretrained writes, of a pipeline or of one network."""
    return any((folder / name).is_file() for name in ("model_index.json", "config.json"))

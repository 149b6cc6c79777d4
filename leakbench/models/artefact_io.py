"""Artefacts of a training as files: networks and tensors by safetensors, facts as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from leakbench.models import networks
from leakbench.models.task import Artefacts


def save_artefacts(made: Artefacts, folder: Path) -> None:
    """Write networks, tensors (safetensors) and info (JSON) into a folder."""
    for name, network in made.networks.items():
        networks.save(network, folder, f"network.{name}")
    if made.tensors:
        save_file(
            {key: value.cpu().contiguous() for key, value in made.tensors.items()}, folder / "tensors.safetensors"
        )
    (folder / "info.json").write_text(json.dumps(made.info, indent=1, sort_keys=True) + "\n")


def load_artefacts(folder: Path, device: torch.device) -> Artefacts:
    """Read what `save_artefacts` wrote."""
    names = [path.name.removeprefix("network.").removesuffix(".json") for path in sorted(folder.glob("network.*.json"))]
    tensors = folder / "tensors.safetensors"
    return Artefacts(
        {name: networks.load(folder, f"network.{name}", device) for name in names},
        load_file(tensors) if tensors.is_file() else {},
        json.loads((folder / "info.json").read_text()),
    )

"""The machine and the versions that something was computed with."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version

import torch

PACKAGES = ("leakbench", "torch", "numpy", "diffusers")


def describe_environment(device: torch.device) -> dict[str, str]:
    """Device, Python and main packages, for the parts of artefacts and records that are not their identity."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    packages = {package: version(package) for package in PACKAGES}
    return {"python": platform.python_version(), "device": name, **packages}


def merge_environments(environments: Iterable[dict[str, str]]) -> dict[str, str]:
    """One environment of several, in order; where they differ, the values are joined by " / "."""
    merged: dict[str, list[str]] = {}
    for environment in environments:
        for name, value in environment.items():
            merged.setdefault(name, []).append(value)
    return {name: " / ".join(dict.fromkeys(values)) for name, values in merged.items()}

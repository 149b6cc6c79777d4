"""Versions and machine, for the part of a record that is not its identity."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version

import torch


def describe_environment(device: torch.device) -> dict[str, str]:
    """Describe Python, the packages that compute, and the device."""
    cuda = device.type == "cuda" and torch.cuda.is_available()
    name = torch.cuda.get_device_name(device) if cuda else platform.processor() or platform.machine()
    packages = {package: version(package) for package in ("leakbench", "torch", "numpy", "diffusers")}
    return {"python": platform.python_version(), "device": name, **packages}


def merge_environments(environments: Iterable[dict[str, str]]) -> dict[str, str]:
    """One environment of several, in order; where they differ, the values are joined by " / "."""
    merged: dict[str, list[str]] = {}
    for environment in environments:
        for name, value in environment.items():
            merged.setdefault(name, []).append(value)
    return {name: " / ".join(dict.fromkeys(values)) for name, values in merged.items()}

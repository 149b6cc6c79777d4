"""How long the extra features of quality records take, by how many products this device multiplies in a second."""

from __future__ import annotations

import time
from math import inf

import torch

from leakbench.measurement.extra_features_policy import list_extra_features
from leakbench.measurement.inputs import RunInputs

PRODUCTS = {"dinov2": 81e9, "sscd": 6.8e9}  # an image: ViT-L/14 at 224, ResNet-50 at 288


def seconds_extra_features(inputs: RunInputs) -> float:
    """Seconds an image of all of them together; 0 where none is measured."""
    products = sum(PRODUCTS[name] for name in list_extra_features(inputs))
    return products / _products_per_second(inputs.device) if products else 0.0


def _products_per_second(device: torch.device) -> float:
    """The best of five multiplications of matrices."""
    left, right = (torch.ones(1024, 1024, device=device) for _ in range(2))
    best = inf
    for _ in range(5):
        began = time.perf_counter()
        (left @ right).sum().item()
        best = min(best, time.perf_counter() - began)
    return 1024**3 / best

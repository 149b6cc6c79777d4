"""What there is to compute on, and the settings of a process that does.

CUDA always runs in its deterministic mode: equal runs on equal devices give equal bits. torch's deterministic kernels
are asked for with warn_only: an operation that has none runs all the same and torch names it in a warning (a choice of
ours: an audit that stops for the sum order of one kernel helps nobody, and one that hides it neither). TF32 is off: the
scores of attacks are differences of near-equal numbers, and its 10 bits would be seen in them.
"""

from __future__ import annotations

import os

import torch

from leakbench.runtime.errors import UsageError


def kind_of(name: str) -> str:
    """cpu or cuda for the `--device` auto, cpu or cuda. Raises UsageError when CUDA is asked for and absent."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("--device cuda: this machine has no usable CUDA device; use --device cpu or auto")
    return "cuda" if name == "cuda" or (name == "auto" and available) else "cpu"


def devices(kind: str) -> list[str]:
    """The names of this machine's devices of a kind: cpu, or cuda:0, cuda:1 ... as far as CUDA_VISIBLE_DEVICES goes."""
    return ["cpu"] if kind == "cpu" else [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def prepare(device: torch.device) -> None:
    """Settings of a process that computes. CPU: one thread (benchmarks/speed/test_threads.py shows why)."""
    if device.type == "cpu":
        torch.set_num_threads(1)
        return
    # cuBLAS reads this at its first call: with it, and with deterministic kernels, equal runs give equal bits.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    if device.index is not None:  # what asks for "cuda" alone means this one
        torch.cuda.set_device(device)

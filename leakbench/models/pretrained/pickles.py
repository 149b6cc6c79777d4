"""Pickles of tensors, read without running a program.

torch reads a pickle with weights_only = True as long as it does nothing but rebuild tensors, numbers, texts, lists and
tables; all others are refused unless the user trusts the file.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from leakbench.runtime.errors import UsageError, in_a_line, to_printable


def unpickle(file: Path, trust_pickle: bool) -> Any:
    """What a pickle holds, its tensors on the CPU. Raises UsageError where reading it could run a program."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pickle's protocol: it is refused or read, and that is said
            return torch.load(file, map_location="cpu", weights_only=not trust_pickle)
    except Exception as error:  # a damaged pickle raises any
        if trust_pickle or not isinstance(error, pickle.UnpicklingError):
            said = to_printable(in_a_line(error))[:160]
            raise UsageError(f"{file}: not a file of weights: {said}") from None
        raise UsageError(
            f"{file}: a pickle that holds more than tensors, and to read it can run any program: ask its author for "
            "safetensors, or trust the file with --trust-pickle (trust_pickle = true)"
        ) from None


def load_pickle(file: Path, trust_pickle: bool) -> dict[str, Any]:
    """Tensors of a pickle by name. Raises UsageError where reading it could run a program."""
    found = unpickle(file, trust_pickle)
    tensors = found.get("state_dict", found) if isinstance(found, dict) else {}
    if not isinstance(tensors, dict) or not any(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise UsageError(f"{file}: not a file of weights: it holds no tensors by name")
    return tensors

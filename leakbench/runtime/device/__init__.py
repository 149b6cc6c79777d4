"""The shared CUDA harness: which devices, at which precision, in which batches, with which random numbers.

machine.py    what there is, and the settings of a process that computes on it
precision.py  bf16 or float32, and the memory order of a network
batches.py    compute batches of a fixed size, and what is remembered where they do not fit
compiling.py  torch.compile with graph capture, where a trial says that it pays
manner.py     which of these happened, for the record
streams.py    random numbers that depend on what they are for and on nothing else
"""

from leakbench.runtime.device.batching import AdaptiveBatch, in_batches, padded, record_batch_reductions
from leakbench.runtime.device.compile import maybe_compile, request_compile
from leakbench.runtime.device.devices import devices, kind_of, prepare
from leakbench.runtime.device.execution import EXECUTION_KEYS, merge_execution_notes, record_execution
from leakbench.runtime.device.precision import autocast, place
from leakbench.runtime.device.rng import Rng, RngStream, philox, seeded
from leakbench.runtime.device.row_digest import row_digest

__all__ = [
    "EXECUTION_KEYS",
    "AdaptiveBatch",
    "Rng",
    "RngStream",
    "autocast",
    "devices",
    "in_batches",
    "kind_of",
    "maybe_compile",
    "merge_execution_notes",
    "padded",
    "philox",
    "place",
    "prepare",
    "record_batch_reductions",
    "record_execution",
    "request_compile",
    "row_digest",
    "seeded",
]

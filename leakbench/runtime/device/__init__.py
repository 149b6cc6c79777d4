"""The shared harness of CPU and CUDA: devices, precision, compute batches, random numbers.

devices.py     the devices of a machine, and the settings of a process that computes
precision.py   bf16 or float32, and the memory format of a network
batching.py    compute batches of fixed sizes, smaller where memory runs out
compile.py     torch.compile, where a suite requests it
execution.py   notes for the record: smaller batches, compiled work
rng.py         random numbers by purpose, image and draw, from a counter-based generator
row_digest.py  digests of tensor rows, for random numbers of a question that has no image number
"""

from leakbench.runtime.device.batching import AdaptiveBatch, in_batches, record_batch_reductions
from leakbench.runtime.device.compile import maybe_compile, request_compile
from leakbench.runtime.device.devices import devices, prepare, resolve_device
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
    "maybe_compile",
    "merge_execution_notes",
    "philox",
    "place",
    "prepare",
    "record_batch_reductions",
    "record_execution",
    "request_compile",
    "resolve_device",
    "row_digest",
    "seeded",
]

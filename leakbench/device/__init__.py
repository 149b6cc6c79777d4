"""The shared CUDA harness: which devices, at which precision, in which batches, with which random numbers.

machine.py    what there is, and the settings of a process that computes on it
precision.py  bf16 or float32, and the memory order of a network
batches.py    compute batches of a fixed size, and what is remembered where they do not fit
compiling.py  torch.compile with graph capture, where a trial says that it pays
manner.py     which of these happened, for the record
streams.py    random numbers that depend on what they are for and on nothing else
"""

from leakbench.device.batches import Room, in_batches, noted, padded
from leakbench.device.compiling import faster
from leakbench.device.machine import devices, kind_of, prepare
from leakbench.device.manner import MANNER, merged, observed
from leakbench.device.precision import autocast, place
from leakbench.device.streams import Stream, Streams, philox, seeded

__all__ = [
    "MANNER",
    "Room",
    "Stream",
    "Streams",
    "autocast",
    "devices",
    "faster",
    "in_batches",
    "kind_of",
    "merged",
    "noted",
    "observed",
    "padded",
    "philox",
    "place",
    "prepare",
    "seeded",
]

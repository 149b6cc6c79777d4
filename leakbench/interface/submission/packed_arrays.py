"""The arrays that a packed run holds: raw scores and what recomputing needs, by name; no picture, no file name.

Row numbers of a data set that anyone can fetch are kept: its split can be drawn again from the suite, by anyone. Those
of a user's own images are numbered anew in their order, and so are groups, which may be numbers of patients.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from typing import Final

import numpy as np

from leakbench.metrics.evaluate.membership import ForgetMasks
from leakbench.results.evidence import (
    AttributeEvidence,
    CanaryEvidence,
    MembershipEvidence,
    MemorisationEvidence,
    ReplicationEvidence,
)

_REPORTED = ("member_rows", "nonmember_rows")
_NAMES: Final[dict[str, frozenset[str]]] = {
    "membership": frozenset(f.name for kind in (MembershipEvidence, ForgetMasks) for f in fields(kind))
    | {*_REPORTED, "member_labels", "nonmember_labels"},
    "memorisation": frozenset(f.name for f in fields(MemorisationEvidence)),
    "replication": frozenset(f.name for f in fields(ReplicationEvidence)),
    "attribute": frozenset(f.name for f in fields(AttributeEvidence)),
    "auditing": frozenset(f.name for f in fields(CanaryEvidence)),
    "quality": frozenset({"mean", "covariance", "n"}),
}
_OF_UNLEARNING = ("_forget", "_unseen", "_retained", "_standard", "_groups", "_steps", "_model", "_retrained", "_real")
_OWN_IMAGES = ("folder", "sides", "npz", "npy", "hf")  # data sets that need not be anybody else's


def is_packed(family: str, name: str) -> bool:
    """Tell whether an array of a record of this family is packed, by its name."""
    return name.endswith(_OF_UNLEARNING) if family == "unlearning" else name in _NAMES[family]


def holds_own_images(dataset: str) -> bool:
    """Tell whether a data set may be its user's own, by its name in a plan ("npz:mine.npz")."""
    return dataset.partition(":")[0] in _OWN_IMAGES


def select_arrays(family: str, arrays: Mapping[str, np.ndarray], own_images: bool) -> dict[str, np.ndarray]:
    """The arrays of a record that are packed, rows and groups of a user's `own_images` numbered anew."""
    kept = {name: array for name, array in arrays.items() if is_packed(family, name)}
    if own_images:
        kept |= _numbered_anew({name: kept[name] for name in _REPORTED if name in kept})
        kept |= _numbered_anew({name: array for name, array in kept.items() if name.endswith("_groups")})
    return kept


def _numbered_anew(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same arrays with 0, 1, .. in place of the numbers that any of them holds, in their order."""
    if not arrays:
        return {}
    numbers = np.unique(np.concatenate(list(arrays.values())))
    return {name: np.searchsorted(numbers, array) for name, array in arrays.items()}


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of an .npz file, the same for the same arrays on any machine."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as file:
        for name in sorted(arrays):
            stream = io.BytesIO()
            np.lib.format.write_array(stream, np.asarray(arrays[name], order="C"), version=(1, 0), allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), stream.getvalue())
    return packed.getvalue()

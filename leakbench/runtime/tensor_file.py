"""A safetensors file that is written block by block, so that its tensors need not exist at one time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_HEADER = 4096  # bytes that are left for it; the format has it filled up with spaces


def save_blocks(tensors: Mapping[str, Iterable[Tensor]], path: Path) -> None:
    """Write tensors, each the concatenation along its first axis of its float32 blocks (n, ...) on any device, of which
    there is at least one. They are made one after the other, in the order of the names. Raises ValueError for other
    types."""
    header, end = {}, 0
    with path.open("wb") as file:
        file.seek(8 + _HEADER)
        for name, blocks in tensors.items():
            begin, rows, shape = end, 0, [0]
            for block in blocks:
                if str(block.dtype) != "torch.float32":
                    raise ValueError(f"{name}: {block.dtype}; blocks of a tensor file are float32")
                values = block.detach().cpu().contiguous().numpy()
                file.write(values.data)
                rows, shape, end = rows + len(values), list(values.shape[1:]), end + values.nbytes
                del block, values  # before the next is made
            header[name] = {"dtype": "F32", "shape": [rows, *shape], "data_offsets": [begin, end]}
        file.seek(0)
        file.write(_HEADER.to_bytes(8, "little") + json.dumps(header).encode().ljust(_HEADER))

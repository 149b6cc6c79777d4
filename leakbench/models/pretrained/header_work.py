"""Work of a given model's network, from the headers of its safetensors files and its config."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from leakbench.models.pretrained.bad_settings import bad_settings, read_sides
from leakbench.models.pretrained.inspect import Options, Part, inspect_folder
from leakbench.models.pretrained.quantised import is_quantised
from leakbench.models.pretrained.weight_files import weight_files
from leakbench.models.work import Work, count_dit_work, count_unet_work
from leakbench.runtime.errors import UsageError

_LONGEST = 100 * 2**20  # bytes of a header, as the safetensors library limits it


def count_header_work(options: Options) -> Work | None:
    """Work of one call for one image, and None where weights are no safetensors, are quantised, or the network is none
    that is known.

    Raises UsageError for a file that is no safetensors file.
    """
    folder = inspect_folder(options.path, options.trust_code, options.config)
    body = folder.parts["body"]
    shapes = read_shapes_of(body)
    if shapes is None or body.config.get("sample_size") is None:
        return None
    with bad_settings(str(folder.path)):
        return _count(body, shapes)


def _count(body: Part, shapes: dict[str, tuple[int, ...]]) -> Work | None:
    height, width = read_sides(body.config, "sample_size", str(body.config_file))
    if body.kind == "DiTTransformer2DModel":
        patch = int(body.config.get("patch_size") or 2)
        return count_dit_work(shapes, (height // patch) * (width // patch))
    levels = body.config.get("block_out_channels")
    return None if levels is None else count_unet_work(shapes, len(levels), (height, width))


def read_shapes_of(part: Part) -> dict[str, tuple[int, ...]] | None:
    """Shapes of a part's parameters by name; None where its weights are pickles, or packed."""
    if is_quantised(part.config):
        return None
    held = (part.file,) if part.file else weight_files(part.folder)
    files = [path for path in held if path.suffix == ".safetensors"]
    return {name: shape for path in files for name, shape in read_header(path).items()} or None


def read_header(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of a safetensors file, by name. Raises UsageError."""
    return {name: shape for name, (_, shape) in read_types(path).items()}


def read_types(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Types (F32, BF16, ...) and shapes of the tensors of a safetensors file, by name. Raises UsageError."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LONGEST:
                raise ValueError("its header is too long")
            found = json.loads(file.read(length))
        tensors = {name: one for name, one in found.items() if name != "__metadata__"}
        return {name: (str(one.get("dtype")), tuple(map(int, one["shape"]))) for name, one in tensors.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise UsageError(f"{path}: not a safetensors file: {error}") from None

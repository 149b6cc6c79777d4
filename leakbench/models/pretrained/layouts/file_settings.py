"""Settings of a network whose weights are one file: the file or folder that says them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from leakbench.models.pretrained.weight_files import read_table
from leakbench.runtime.errors import UsageError
from leakbench.runtime.paths import user_path

_TABLES = (".json", ".yml", ".yaml")


def find_settings(file: Path, given: str) -> Path | None:
    """The settings of the weights in `file`: what its user gives (a folder that save_pretrained wrote, or a table), or
    else what lies beside it: STEM.json, config.json, model_index.json. None where there is nothing. Raises UsageError.
    """
    if given:
        path = user_path(given)
        if path.is_dir() or (path.is_file() and path.suffix in _TABLES):
            return path
        raise UsageError(
            f"config = {given!r}: it should be a folder that save_pretrained wrote, or a .json or .yml file"
        )
    beside = [file.with_suffix(ending) for ending in _TABLES] + [file.parent / "config.json"]
    found = next((path for path in beside if path.is_file()), None)
    return found or (file.parent if (file.parent / "model_index.json").is_file() else None)


def read_settings(file: Path) -> dict[str, Any]:
    """The table in a JSON or YAML file. Raises UsageError."""
    if file.suffix == ".json":
        return read_table(file)
    import yaml  # type: ignore[import-untyped]  # huggingface_hub brings it

    try:
        found = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{file}: cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{file}: not a table of settings")
    return found

"""What `leakbench audit` was asked for, from its words: folders, a model or samples, captions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from leakbench.data import Dataset
from leakbench.data.captions import SIDECARS, arranged, gathered
from leakbench.data.member_folders import files_of, loaded
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.suite.audit_request.suite import Request


def named(option: str, given: str, size: int | None) -> str:
    """What DIR means: a folder (or .zip) of images, an .npz file, or the name of a data set. Raises UsageError."""
    path = Path(given).expanduser()
    if path.is_dir() or (path.suffix == ".zip" and path.is_file()):
        return f"folder:{path}" + (f"@{size}" if size else "")
    if path.suffix == ".npz" and path.is_file():
        return f"npz:{path}"
    if given.partition(":")[0] not in registry.names("datasets"):
        raise UsageError(f"{option} {given!r}: no such folder or .npz file, and no data set of that name")
    return given


def of_model(model: str, said: dict[str, Any], captions: str | None, given: dict[str, Any]) -> Request:
    """The request of an audit of a pipeline; what was not said keeps the plugin's default."""
    parameters = {key: value for key, value in said.items() if value is not None}
    if captions is not None:
        files = _files(captions, given)
        table = gathered(files) if captions == SIDECARS else arranged(Path(captions), files)
        parameters["captions"] = given["captions"] = str(table)
    return Request(Path(model).name, {"name": "pipeline", "path": model, **parameters}, **given)


def of_samples(samples: str, said: dict[str, Any], given: dict[str, Any]) -> Request:
    """The request of an audit of generated images alone. Raises UsageError for what only a model has."""
    for option, value in said.items():
        if value:
            raise UsageError(f"--{option} {value}: belongs to a MODEL, and only --samples are given")
    data = loaded(samples, "--samples", given["skip_broken"])
    model = {"name": "given_samples", "images": samples, "digest": data.digest, "skip_broken": given["skip_broken"]}
    title = data.name.partition(":")[2] or data.name
    return Request(title, model, **given, samples=len(data.images), shape=data.shape)


def _files(captions: str, given: dict[str, Any]) -> list[tuple[Path, list[str]]]:
    """The folder of each side and the images in it, which captions go by."""
    folders = []
    for side in ("members", "nonmembers"):
        data: Dataset = loaded(given[side], f"--{side}", given["skip_broken"])
        found = files_of(given[side], data)
        if found is None:
            raise UsageError(f"--captions {captions}: --{side} {given[side]} is no folder: captions go by image files")
        folders.append(found)
    return folders

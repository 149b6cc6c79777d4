"""The request of `leakbench audit`, from its options: folders, a model or samples, captions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from leakbench.data.caption_labels import SIDECARS, arrange_captions, collect_sidecars
from leakbench.data.folder_name import FolderName
from leakbench.data.image_files import is_packed
from leakbench.data.levels import Levels
from leakbench.data.member_folders import list_image_files, load_dataset
from leakbench.models.hosted.endpoint import endpoint_title, read_endpoint
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.runtime.paths import user_path
from leakbench.suite.audit_request.suite import Request


def name_dataset(
    option: str,
    given: str,
    size: int | None = None,
    convert: bool = False,
    labels: str | None = None,
    upright: bool = False,
    levels: Levels | None = None,
    group_by: str = "",
) -> str:
    """The data set that DIR means: a folder of images (or a .zip, .tar, .parquet), an .npz file, or a data set by name.

    size, convert, labels, upright, levels, group_by: of a folder, see FolderName. Raises UsageError.
    """
    path = user_path(given)
    if path.is_dir() or (is_packed(path) and path.is_file()):
        labelled = labels == "folder"
        return str(FolderName(path, size, convert, labelled, upright=upright, levels=levels, group_by=group_by))
    if group_by:
        raise UsageError(f"--group-by {group_by}: {option} {given} is no folder: it goes by the names of files")
    if path.suffix == ".npz" and path.is_file():
        return f"npz:{path}"
    if given.partition(":")[0] not in registry.names("datasets"):
        raise UsageError(
            f"{option} {given!r}: no such folder, .zip, .tar, .parquet or .npz file, and no data set of that name"
        )
    return given


def request_of_model(model: str, said: dict[str, Any], captions: str | None, given: dict[str, Any]) -> Request:
    """The request of an audit of a pipeline; what was not said keeps the plugin's default. Raises UsageError."""
    parameters = {key: value for key, value in said.items() if value is not None}
    parameters |= _caption_table(captions, given)
    title = Path(model).name + (f" + {Path(parameters['lora']).stem}" if "lora" in parameters else "")
    return Request(title, {"name": "pipeline", "path": model, **parameters}, **given)


def request_of_endpoint(endpoint: str, said: dict[str, Any], captions: str | None, given: dict[str, Any]) -> Request:
    """The request of an audit of a hosted model. Raises UsageError for what only a model at hand has, for a secret that
    is not set, and for captions that its body has no place for."""
    _refuse(said, "belongs to a MODEL, and only an --endpoint is given")
    found = read_endpoint(endpoint)
    found.check_secrets()
    if captions is not None and not found.takes("prompt"):
        raise UsageError(f"--captions {captions}: the body of {endpoint} has no {{prompt}}")
    model = {"name": "hosted", "endpoint": endpoint} | _caption_table(captions, given)
    return Request(endpoint_title(endpoint), model, **given, hosted=True)


def request_of_samples(samples: str, said: dict[str, Any], given: dict[str, Any]) -> Request:
    """The request of an audit of generated images alone. Raises UsageError for what only a model has."""
    _refuse(said, "belongs to a MODEL, and only --samples are given")
    model = {"name": "given_samples", "images": samples, "skip_broken": given["skip_broken"]}
    return Request("samples", model, **given, generated=samples)


def _caption_table(captions: str | None, given: dict[str, Any]) -> dict[str, str]:
    """The parameter of a model that is told captions, by their table, which `given` gets too; nothing without any."""
    if captions is None:
        return {}
    folders = [_images_of(side, captions, given) for side in ("members", "nonmembers")]
    table = collect_sidecars(folders) if captions == SIDECARS else arrange_captions(Path(captions), folders)
    given |= {"captions": str(table), "typed_captions": captions}
    return {"captions": str(table)}


def _refuse(said: dict[str, Any], words: str) -> None:
    """Raise UsageError for the first option that has a value."""
    for option, value in said.items():
        if value:
            shown = ", ".join(value) if isinstance(value, tuple) else value
            raise UsageError(f"--{option} {shown}: {words}")


def _images_of(side: str, captions: str, given: dict[str, Any]) -> tuple[Path, list[str]]:
    """The folder of a side and the images in it, which captions go by. Images are decoded only where those that do not
    decode are left out. Raises UsageError."""
    name = given[side]
    if not name.startswith("folder:"):
        raise UsageError(f"--captions {captions}: --{side} {name} is no folder: captions go by image files")
    skipped = load_dataset(name, f"--{side}", True).skipped if given["skip_broken"] else ()
    found = list_image_files(name, skipped)
    assert found is not None
    return found

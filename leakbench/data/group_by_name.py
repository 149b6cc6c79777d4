"""Groups of images (people, patients, scenes) by the names of files: by subfolders, or by a pattern of the user's.

A pattern is a regular expression that is looked for anywhere in a file's path below its folder, with '/'.
"""

from __future__ import annotations

import re
from pathlib import Path

from leakbench.data.image_files import ImageFiles
from leakbench.data.refused_images import SHOWN
from leakbench.runtime.errors import UsageError, to_printable

FOLDER = "folder"  # the word that asks for the first folder below PATH; all else is a pattern
_LONGEST = 1000  # characters of a pattern


def check_pattern(where: str, pattern: str) -> None:
    """Raise UsageError unless it is FOLDER or a regular expression."""
    if pattern == FOLDER:
        return
    if len(pattern) > _LONGEST:
        raise UsageError(f"{where}: {len(pattern)} characters; a pattern has {_LONGEST} at most")
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"{where} {to_printable(pattern)}: is no regular expression ({error}); write folder, or one such as "
            r"'patient-(\d+)'"
        ) from None


def names_in_files(where: str, pattern: str, path: Path, images: ImageFiles) -> list[str]:
    """Whose each image is: the first folder below `path` that it lies in, by FOLDER; or what the parts of `pattern` in
    brackets found in its name below `path`, joined by '/' (all that it found, without brackets). Raises UsageError."""
    files = images.names
    if pattern == FOLDER:
        if images.in_shards:
            raise UsageError(f"{where} folder: {path}: its images lie in several shards: give a pattern or a table")
        found = [file.partition("/")[0] if "/" in file else "" for file in files]
        hint = "lie in no subfolder"
    else:
        matched = [re.search(pattern, file) for file in files]
        found = ["" if one is None else _matched(one) for one in matched]
        hint = "have nothing that it finds in their names"
    missing = [file for file, name in zip(files, found, strict=True) if not name]
    if missing:
        more = f", and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise UsageError(
            f"{where} {to_printable(pattern)}: {path}: {len(missing)} of {len(files)} image files {hint} "
            f"({to_printable(', '.join(missing[:SHOWN]))}{more}): every image needs a group"
        )
    return found


def _matched(found: re.Match[str]) -> str:
    """What the brackets found, "" where one of them found nothing."""
    parts = found.groups() or (found[0],)
    return "/".join(parts) if all(parts) else ""

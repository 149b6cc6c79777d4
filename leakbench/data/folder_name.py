"""Names of folders of images as data sets: folder:PATH@SIZE,convert,labels=folder,channels=3.

Behind all others may stand whose each image is: ,group-by=folder or ,group-by=PATTERN, or ,groups=FILE.csv. A pattern
and a path end where the name ends, for they may hold commas.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from leakbench.data.group_by_name import check_pattern
from leakbench.data.levels import PATTERN, Levels
from leakbench.runtime.errors import UsageError
from leakbench.runtime.paths import user_path

_FORM = (
    "write folder:PATH or folder:PATH@SIZE, then ,convert ,upright ,levels=0:1 or ,labels=folder as wanted, and last "
    ",group-by=PATTERN or ,groups=FILE.csv"
)
_OPTION = rf",(?:convert|upright|levels={PATTERN}|labels=folder|channels=[13])"
_GROUPS = r"(?:,(group-by|groups)=(.+))?"


@dataclass(frozen=True)
class FolderName:
    """A folder or .zip of images, and what is to be done with them.

    size: pixels a side to which they are resized and cropped. convert: convert kinds of files that are refused
    otherwise. label_folders: the first folder below `path` is an image's label. channels: 1 or 3, by which the images
    of several folders are made alike; None: grey where all of them are. upright: turn images as their EXIF says.
    levels: the values that are black and white, in files of floating point or more than 8 bits. group_by: "folder" or
    the pattern by which files' names say whose each image is; groups: the table that says it instead.
    """

    path: Path
    size: int | None = None
    convert: bool = False
    label_folders: bool = False
    channels: int | None = None
    upright: bool = False
    levels: Levels | None = None
    group_by: str = ""
    groups: Path | None = None

    @classmethod
    def parse(cls, argument: str) -> FolderName:
        """What follows `folder:`. A path that ends like an option and exists is a path. Raises UsageError."""
        found = re.fullmatch(rf"(.+?)(?:@(\d+))?((?:{_OPTION})*){_GROUPS}", argument)
        grouped = bool(found and found[4])  # what stands behind that is no path, and may be longer than one
        path, size, options, groups = user_path(found[1] if found and grouped else argument), None, "", ("", "")
        if found and (grouped or not path.exists()):
            path, options, groups = user_path(found[1]), found[3], (found[4] or "", found[5] or "")
            size = int(found[2]) if found[2] else None
            if size is not None and (whole := user_path(f"{found[1]}@{found[2]}")).exists():
                path, size = whole, None
        if not argument or not path.exists():
            raise UsageError(f"dataset 'folder:{argument}': no such folder; {_FORM}")
        if size is not None and not 2 <= size <= 4096:
            raise UsageError(f"dataset 'folder:{argument}': SIZE = {size}: it should be from 2 to 4096")
        if groups[0] == "group-by":
            check_pattern(f"dataset 'folder:{found and found[1]}': group-by", groups[1])
        channels, stated = re.search(r"channels=([13])", options), re.search(r"levels=([^,]+)", options)
        return cls(
            path,
            size,
            "convert" in options,
            "labels" in options,
            int(channels[1]) if channels else None,
            "upright" in options,
            Levels.parse(stated[1], f"dataset 'folder:{argument}': levels") if stated else None,
            groups[1] if groups[0] == "group-by" else "",
            user_path(groups[1]) if groups[0] == "groups" else None,
        )

    def __str__(self) -> str:
        """The whole name, which `parse` reads after `folder:`."""
        channels = f",channels={self.channels}" if self.channels else ""
        by_name = f",group-by={self.group_by}" if self.group_by else ""
        table = f",groups={self.groups}" if self.groups else ""
        return f"folder:{self.path}{self._options}{channels}{by_name}{table}"

    @property
    def title(self) -> str:
        """The name with the folder's own name for its path: what reports call it. It seeds the noise of attacks, and
        whose the images are leaves that as it was."""
        return f"folder:{self.path.name}{self._options}"

    @property
    def _options(self) -> str:
        size = f"@{self.size}" if self.size else ""
        stated = f",levels={self.levels}" if self.levels else ""
        return (
            size
            + ",convert" * self.convert
            + ",upright" * self.upright
            + stated
            + ",labels=folder" * self.label_folders
        )


def with_channels(name: str, channels: int) -> str:
    """The name of a data set that is to be grey (1) or RGB (3) where it is a folder; others stay."""
    kind, _, argument = name.partition(":")
    return name if kind != "folder" else str(replace(FolderName.parse(argument), channels=channels))

"""Two data sets as one: images that a given model was trained on, and images that it was not.

Who trained the model has already drawn its members, so here only the other parts are drawn: of the members' side a
share becomes `calibration_in` and the rest `member`; of the other side, shares become `calibration_out` and `reference`
and the rest `nonmember`. Choices of ours: the shares (a fifth; a fifth and three tenths), of which none may give fewer
than 20 images; where that takes more than there are (below 40 members or 60 nonmembers), no calibration images at all,
and from 3 members and 10 nonmembers on three tenths of the nonmembers for reference; the draw, by a seed of its own;
and that an image with the very same pixels on both sides is an error, since one of the folders is then wrong.
Near-duplicates across the sides are removed as in every run (the nonmembers', by their precedence), after the draw.

A row must not tell its side, for attacks are handed row numbers: rows stand in the order of the sha256 of their pixels,
as good as at random, whichever side an image is of, whatever its file is called and wherever it lies. The draw is made
in that order too. `index` is an image's position among the files: the members' in their order, then the nonmembers'.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import numpy as np

from leakbench.data.caption_labels import number_captions
from leakbench.data.dataset import Dataset
from leakbench.data.decoding import Notes
from leakbench.data.folder import folder
from leakbench.data.folder_facts import list_classes
from leakbench.data.folder_name import FolderName, with_channels
from leakbench.data.image_cache import Pack, pack_images
from leakbench.data.image_files import ImageFiles
from leakbench.data.mapped_pages import PageKeeper
from leakbench.data.side_groups import number_sides_together
from leakbench.data.split import FEW, order_by_group
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import write_atomically

SHARES = {"members": {"calibration_in": 0.2}, "nonmembers": {"calibration_out": 0.2, "reference": 0.3}}
FEW_SHARES: dict[str, dict[str, float]] = {"members": {}, "nonmembers": {"reference": 0.3}}  # of few images
_FEWEST = {"members": 3, "nonmembers": 10}  # images of a side
_REPORTED = {"members": "member", "nonmembers": "nonmember"}
_LEAST = 20  # images of a part, as in every split
_ROWS = 64  # images that are held at one time


def name_sides(
    members: str,
    nonmembers: str,
    captions: str = "",
    seed: int = 0,
    skip_broken: bool = False,
    groups: str = "",
    few: bool = False,
) -> str:
    """The name for `dataset = "..."` of two data sets, such as folder:PATH and npz:PATH, as members and nonmembers."""
    options: dict[str, object] = {"members": members, "nonmembers": nonmembers, "seed": seed}
    options |= {"captions": captions} if captions else {}
    options |= {"groups": groups} if groups else {}
    options |= {"skip_broken": 1} if skip_broken else {}
    options |= {"few": 1} if few else {}
    return "sides:" + urlencode(options, safe="/:@,=")


def sides(argument: str, skip_broken: bool = False) -> Dataset:
    """Members and nonmembers of a given model, each a data set: sides:members=folder:A&nonmembers=folder:B.

    Further: &captions=FILE (leakbench.data.caption_labels; then a label is the number of an image's caption),
    &groups=FILE (leakbench.data.side_groups), &seed=N of the draw, &few=1 (no calibration images, however many there
    are), &skip_broken=1.
    """
    options, where = dict(parse_qsl(argument)), f"dataset 'sides:{argument}'"
    if not set(SHARES) <= set(options) <= {*SHARES, "captions", "groups", "seed", "skip_broken", "few"}:
        raise UsageError(f"{where}: write sides:members=DATASET&nonmembers=DATASET, and &seed=N if wanted")
    if not options.setdefault("seed", "0").isdigit():
        raise UsageError(f"{where}: seed = {options['seed']!r}: it should be a whole number, 0 or more")
    skip = skip_broken or "skip_broken" in options
    _check_handling([options[side] for side in SHARES])
    names = make_alike([options[side] for side in SHARES], where, skip)
    members, nonmembers = (load_dataset(name, where, skip) for name in names)
    check_alike(members, nonmembers)
    said = options.get("groups", ""), options.get("captions", "")
    members, nonmembers = number_sides_together(names, (members, nonmembers), *said)
    _check_classes([options[side] for side in SHARES])
    known = hash_each(members), hash_each(nonmembers)
    _check_apart(options, (members, nonmembers), known)
    draws = np.random.default_rng([int(options["seed"]), 0x51DE5]).spawn(2)
    few = "few" in options or are_few(len(members.images), len(nonmembers.images))
    words = [
        draw_words(side, data, _sorted(found), draw, few)
        for side, data, found, draw in zip(SHARES, (members, nonmembers), known, draws, strict=True)
    ]
    order = _sorted([*known[0], *known[1]])
    joined, labels = _joined(members, nonmembers, known, order), _both(members.labels, nonmembers.labels, order)
    return Dataset(
        f"{members.name} and {nonmembers.name}",
        joined.images,
        labels if "captions" not in options else _captioned(options, members, nonmembers)[order],
        _both(members.attribute, nonmembers.attribute, order),
        split=np.concatenate(words)[order],
        index=order,
        pixels=joined.pixels,
        folder=joined.folder,
        skipped=(*members.skipped, *nonmembers.skipped),
        precedence=np.repeat([0, 1], [len(found) for found in known])[order],
        group=_both(members.group, nonmembers.group, order),
        remarks=(*members.remarks, *nonmembers.remarks),
        group_names=members.group_names,
        few=few,
    )


def load_dataset(name: str, where: str, skip_broken: bool) -> Dataset:
    """The data set of a name; of a folder, without what does not decode where `skip_broken`. Raises UsageError."""
    from leakbench.runtime import registry

    kind, _, argument = name.partition(":")
    if kind == "folder":
        return folder(argument, skip_broken)
    loaded: Dataset = registry.dataset(name, where)()
    return loaded


def make_alike(names: list[str], where: str, skip_broken: bool) -> list[str]:
    """The names of data sets whose images are to be alike: grey if all are, else RGB as far as that is possible."""
    channels = {load_dataset(name, where, skip_broken).shape[0] for name in names}
    return names if len(channels) == 1 else [with_channels(name, max(channels)) for name in names]


def _captioned(options: dict[str, str], members: Dataset, nonmembers: Dataset) -> np.ndarray:
    """The number of every image's caption."""
    found = []
    for side, data in zip(SHARES, (members, nonmembers), strict=True):
        folder_and_names = list_image_files(options[side], data.skipped)
        if folder_and_names is None:
            raise UsageError(f"--{side} {data.name}: captions go by the names of files: give a folder of images")
        found.append(folder_and_names)
    return np.concatenate(number_captions(Path(options["captions"]), found))


def _sorted(found: list[str]) -> np.ndarray:
    """The order of images by their hashes."""
    return np.argsort(np.array(found, dtype="S64"), kind="stable")


def _joined(members: Dataset, nonmembers: Dataset, known: tuple[list[str], list[str]], order: np.ndarray) -> Pack:
    """The pixels of both in this order."""
    first = len(members.images)

    def rows(_: Notes) -> Iterator[tuple[np.ndarray, None]]:
        pages = PageKeeper(members.images), PageKeeper(nonmembers.images)
        for start in range(0, len(order), _ROWS):
            some = order[start : start + _ROWS]
            block = np.empty((len(some), *members.images.shape[1:]), dtype=np.uint8)
            block[some < first] = members.images[some[some < first]]
            block[some >= first] = nonmembers.images[some[some >= first] - first]
            for one in pages:
                one.note(block.nbytes)
            yield block, None

    held = [hashlib.sha256("".join(sorted(found)).encode()).hexdigest() for found in known]
    return pack_images("sides", {"held": held, "shape": members.shape}, rows)


def _both(first: np.ndarray | None, second: np.ndarray | None, order: np.ndarray) -> np.ndarray | None:
    return None if first is None or second is None else np.concatenate([first, second])[order]


def are_few(members: int, nonmembers: int) -> bool:
    """Tell whether so many images of the two sides are too few to spare any for calibration."""
    return any(
        count < _LEAST * (1 + len(shares)) for count, shares in zip((members, nonmembers), SHARES.values(), strict=True)
    )


def draw_words(side: str, data: Dataset, by_hash: np.ndarray, draw: np.random.Generator, few: bool) -> np.ndarray:
    """A word for each image of a side. few: none for calibration. Raises UsageError where images are too few for its
    parts."""
    count, shares = len(data.images), (FEW_SHARES if few else SHARES)[side]
    check_count(side, data.name, count)
    least, reported = (1, FEW[_REPORTED[side]]) if few else (_LEAST, _LEAST)
    words = np.full(count, _REPORTED[side], dtype="U15")
    order, begun = by_hash[draw.permutation(count)], 0
    if data.group is not None:
        order = order_by_group(order, data.group, draw)
    for part, share in shares.items():
        end = begun + max(least, int(share * count))
        if data.group is not None and end < count:  # to the end of the group that the part would cut
            end += int((data.group[order[end:]] == data.group[order[end - 1]]).sum())
        words[order[begun:end]] = part
        begun = end
    if begun + reported > count:
        raise UsageError(
            f"--{side} {data.name}: its groups are kept whole, which leaves {max(0, count - begun)} images for "
            f"{_REPORTED[side]}, of at least {reported}: give more groups"
        )
    return words


def check_count(side: str, name: str, count: int) -> None:
    """Raise UsageError where a side has too few images even for exact tests."""
    if count < _FEWEST[side]:
        raise UsageError(
            f"--{side} {name}: {count} image{'s' * (count != 1)}, and at least {_FEWEST[side]} are needed: of 3 "
            "members and 10 nonmembers an exact test can still tell what leaks"
        )


def check_alike(members: Dataset, nonmembers: Dataset) -> None:
    if members.shape != nonmembers.shape:
        ours, theirs = ("x".join(map(str, data.shape)) for data in (members, nonmembers))
        alike = members.shape[0] == nonmembers.shape[0]
        folders = any(data.name.startswith("folder:") for data in (members, nonmembers))
        hint = "or one --size for both" if alike else "all grey or all RGB" + ", or with --convert" * folders
        raise UsageError(
            f"members ({members.name}) are {ours} and nonmembers ({nonmembers.name}) {theirs} (channels, height, "
            f"width): give both alike, {hint}"
        )


def _check_classes(names: list[str]) -> None:
    """Raise UsageError where folders that are labels are not the same on both sides: their numbers would not be."""
    folders = [FolderName.parse(name.partition(":")[2]) for name in names if name.startswith("folder:")]
    found = [list_classes(name, ImageFiles(name.path)) for name in folders if name.label_folders]
    if len(found) == 2 and found[0] != found[1] and not all(word.isdigit() for words in found for word in words):
        odd = sorted({*found[0]} ^ {*found[1]})
        raise UsageError(
            f"--labels folder: {', '.join(odd[:10])}: a subfolder of one side alone, so that the labels would not "
            "be the same: give both the same subfolders, or name them by whole numbers"
        )


def _check_handling(names: list[str]) -> None:
    """Raise UsageError where the images of one folder alone are turned, or have another range of values."""
    folders = [FolderName.parse(name.partition(":")[2]) for name in names if name.startswith("folder:")]
    if len({(folder.upright, folder.levels) for folder in folders}) > 1:
        raise UsageError(
            f"members ({folders[0].title}) and nonmembers ({folders[1].title}): ,upright and ,levels go for both sides "
            "alike or for neither: else they can be told apart without the model"
        )


def _check_apart(names: dict[str, str], sides: tuple[Dataset, Dataset], known: tuple[list[str], list[str]]) -> None:
    """Raise UsageError that names an image that is on both sides."""
    rows = {found: row for row, found in reversed(list(enumerate(known[0])))}
    for row, found in enumerate(known[1]):
        if found in rows:
            ours = _image(names["members"], sides[0], rows[found])
            raise UsageError(
                f"{ours} and {_image(names['nonmembers'], sides[1], row)} are the same image (sha256 of its pixels "
                f"{found[:12]}): it was trained on or it was not; take it out of one side"
            )


def hash_each(data: Dataset) -> list[str]:
    """sha256 of the pixels of every image; kept beside those that lie in a file of the cache, so that gigabytes are
    hashed once."""
    kept = None if data.folder is None else data.folder / "sha256-of-each.txt"
    if kept is not None and kept.is_file() and len(found := kept.read_text().split()) == len(data.images):
        return found
    found, pages = [], PageKeeper(data.images)
    for start in range(0, len(data.images), _ROWS):
        block = np.ascontiguousarray(data.images[start : start + _ROWS])
        found += [hashlib.sha256(image).hexdigest() for image in block]
        pages.note(block.nbytes)
    if kept is not None:
        write_atomically(kept, "\n".join(found).encode())
    return found


def _image(name: str, data: Dataset, row: int) -> str:
    """Name of the image of a row of a data set: its file where it has one."""
    found = list_image_files(name, data.skipped)
    return f"{data.name} image {row}" if found is None else str(found[0] / found[1][row])


def list_image_files(name: str, skipped: Collection[str]) -> tuple[Path, list[str]] | None:
    """The folder of a data set of this name, and the files of its images below that, in order, but for `skipped`; None
    where they do not lie in files of their own."""
    kind, _, argument = name.partition(":")
    if kind != "folder":
        return None
    path = FolderName.parse(argument).path
    return path, [file for file in ImageFiles(path).names if file not in skipped]

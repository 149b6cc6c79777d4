"""All image files of a folder that cannot be taken as they are, in one line, each kind with its remedy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from leakbench.data.image_kinds import CMYK, DEEP, FLOAT, OTHER, TRANSPARENT

SHOWN = 10  # file names in one message
SIZE, BROKEN = "are of another size", "cannot be decoded"
COLOUR, GREY = "are in colour, and others grey", "are stored as grey, and others in colour"
_ORDER = (TRANSPARENT, DEEP, CMYK, FLOAT, COLOUR, GREY, OTHER, SIZE, BROKEN)
_PLAIN = "save them as 8-bit grey or RGB"


@dataclass(frozen=True)
class Remedies:
    """Words on what to do about each kind of refusal."""

    convert: str = _PLAIN
    colours: str = "save all of them alike"
    size: str = "make them of one size"
    levels: str = _PLAIN
    broken: str = "mend them, or leave them out with --skip-broken"


@dataclass
class Refusals:
    """Files that are refused, by kind: name and what is to be said of it, in order."""

    found: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, kind: str, name: str, detail: str = "") -> None:
        """Note that a file is of a kind; `detail` says what it is."""
        self.found.setdefault(kind, {})[name] = detail

    def keep(self, holds: Callable[[str], bool]) -> None:
        """Forget the files of which this does not hold."""
        kept = {kind: {name: said for name, said in files.items() if holds(name)} for kind, files in self.found.items()}
        self.found = {kind: files for kind, files in kept.items() if files}

    @property
    def count(self) -> int:
        return sum(map(len, self.found.values()))

    def words(self, where: str, count: int, remedies: Remedies) -> str:
        """One line: the kinds with their numbers, names and remedies, of `count` files."""
        kinds = [kind for kind in _ORDER if kind in self.found]
        names = max(2, SHOWN // len(kinds))
        # one remedy is said once, after the last of the kinds that it mends
        said = [(self._kind(kind, count, names), _remedy(kind, remedies)) for kind in kinds]
        parts = [
            words + ("" if said[i + 1 : i + 2] and said[i + 1][1] == remedy else f": {remedy}")
            for i, (words, remedy) in enumerate(said)
        ]
        return f"{where}: " + "; ".join(parts)

    def _kind(self, kind: str, count: int, names: int) -> str:
        return f"{len(self.found[kind])} of {count} image files {kind} ({self.list(kind, names)})"

    def list(self, kind: str, names: int = SHOWN) -> str:
        """The first few names of a kind with their details, and how many more there are."""
        files = list(self.found[kind].items())
        shown = [f"{name}: {detail}" if detail else name for name, detail in files[:names]]
        more = [f"and {len(files) - names} more"] if len(files) > names else []
        return ", ".join([*shown, *more])


def _remedy(kind: str, remedies: Remedies) -> str:
    if kind == OTHER:
        return _PLAIN
    words = {SIZE: remedies.size, BROKEN: remedies.broken, FLOAT: remedies.levels}
    return (words | dict.fromkeys((COLOUR, GREY), remedies.colours)).get(kind, remedies.convert)

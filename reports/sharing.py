"""How many network calls the attacks of a release shared: an image's calls as made, beside those of each attack alone.

A run that was resumed holds records of several askings of one release; the one with the most attacks is told.
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.run_folder import RunFolder

from .points import points
from .words import calls, count, listed


@dataclass(frozen=True)
class Shared:
    """Calls an image by `attacks` questions that were put together, and what they would have been apart."""

    together: float
    apart: float
    attacks: int

    @property
    def words(self) -> str:
        """In one line."""
        made = f"{calls(self.together)} calls an image for {count(self.attacks, 'question')}"
        if self.together >= self.apart:
            return f"{made}, as many as if each ran alone"
        saved = 1 - self.together / self.apart
        return f"{made}, {calls(self.apart)} if each ran alone: {100 * saved:.0f} % saved"


def sharing(run: RunFolder) -> list[tuple[list[str], Shared]]:
    """The points by what their attacks shared; without those at which nothing was asked of the network."""
    found: dict[Shared, list[str]] = {}
    for point in points(run):
        best = max(_of(run, point.name), key=lambda shared: (shared.attacks, shared.apart), default=None)
        if best is not None and best.apart > 0:
            found.setdefault(best, []).append(point.name)
    return [(names, shared) for shared, names in found.items()]


def sharing_text(run: RunFolder) -> list[str]:
    """A line a group of points with the same calls."""
    every = {record.point for record in run.records if record.family == "membership"}
    return [
        f"{'every point' if every <= set(names) else listed(names)}: {shared.words}" for names, shared in sharing(run)
    ]


def _of(run: RunFolder, point: str) -> list[Shared]:
    facts = [record.run.calls for record in run.records if record.point == point]
    return [Shared(float(f["together"]), float(f["apart"]), int(f["attacks"])) for f in facts if "together" in f]

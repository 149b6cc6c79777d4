"""Whether the defenses of a suite make sense where it puts them: asked before anything is trained."""

from __future__ import annotations

from leakbench.api import Defense, Place
from leakbench.errors import UsageError
from leakbench.suite import Link
from leakbench.workbench import Workbench


def check_places(bench: Workbench) -> None:
    """Raise UsageError that names the suite, the defense and why it cannot work there."""
    _ = bench.forgotten  # attacks and metrics read [forget] for every release
    for point in bench.suite.points:
        bench.network(bench.condition(point.chain))
        for number, link in enumerate(point.chain):
            if objection := _objection(bench, point.chain[:number], link.defense, bench.condition(point.chain)):
                raise UsageError(f"suite {bench.suite.file.name!r}: defense {link.id!r}: {objection}")


def _objection(bench: Workbench, below: tuple[Link, ...], defense: Defense, condition: str) -> str | None:
    forget = bench.suite.file.forget
    if defense.forgets and forget is None:
        return "there is nothing to forget: write a [forget] table with `label` or `share`"
    return _of_the_pair(below, defense) or defense.objection(
        Place(
            below=tuple(link.defense for link in below),
            condition=condition,
            forget=forget.kind if forget and defense.forgets else "nothing",
            timesteps=bench.schedule.T,
            images=len(bench.split.train),
            pixels=bench.data.shape[1] * bench.data.shape[2],
        )
    )


def _of_the_pair(below: tuple[Link, ...], defense: Defense) -> str | None:
    for link in below:
        if defense.changes != "sampling" and link.defense.changes == "sampling":
            return (
                f"{defense.name} changes weights, and its base {link.id!r} changes only what is answered: "
                f"build {link.id!r} on it instead"
            )
        if defense.changes == "sampling" and defense.walks and not link.defense.walks:
            return (
                f"{defense.name} steers a sampling walk, and its base {link.id!r} chooses among finished samples: "
                f"build {link.id!r} on it instead"
            )
    return None

"""Network calls that the attacks of a release shared: calls for an image as made, beside those of each attack alone.

A resumed run holds records of several passes over one release; the one with the most attacks is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.formatting import count_noun, format_calls, join_words


@dataclass(frozen=True)
class SharedCalls:
    """Calls an image by `attacks` questions that were put together, and what they would have been apart."""

    together: float
    apart: float
    attacks: int

    @property
    def words(self) -> str:
        """The saving in one line."""
        made = f"{format_calls(self.together)} calls an image for {count_noun(self.attacks, 'question')}"
        if self.together >= self.apart:
            return f"{made}, as many as if each ran alone"
        saved = 1 - self.together / self.apart
        return f"{made}, {format_calls(self.apart)} if each ran alone: {100 * saved:.0f} % saved"


def list_shared_calls(run: RunFolder) -> list[tuple[list[str], SharedCalls]]:
    """The points by what their attacks shared; without those at which nothing was asked of the network."""
    found: dict[SharedCalls, list[str]] = {}
    for point in run.plan.points:
        best = max(_of(run, point.name), key=lambda shared: (shared.attacks, shared.apart), default=None)
        if best is not None and best.apart > 0:
            found.setdefault(best, []).append(point.name)
    return [(names, shared) for shared, names in found.items()]


def format_shared_calls(run: RunFolder) -> list[str]:
    """A line a group of points with the same calls."""
    every = {record.point for record in run.records if record.family == "membership"}
    return [
        f"{'every point' if every <= set(names) else join_words(names)}: {shared.words}"
        for names, shared in list_shared_calls(run)
    ]


def share_in_network(run: RunFolder) -> float | None:
    """The part of the membership attacks' seconds, fits included, in which the network answered about the images that
    they scored; None where no record says so."""
    passes = {
        (record.point, record.seed, timings["membership_attacks_together"], timings["membership_network_calls"])
        for record in run.records
        if "membership_network_calls" in (timings := record.run.timings)
    }
    whole = sum(seconds for _, _, seconds, _ in passes)
    return sum(seconds for *_, seconds in passes) / whole if whole else None


def _of(run: RunFolder, point: str) -> list[SharedCalls]:
    facts = [record.run.calls for record in run.records if record.point == point]
    return [SharedCalls(float(f["together"]), float(f["apart"]), int(f["attacks"])) for f in facts if "together" in f]


TEMPLATE = """\
## Shared network calls

{% for words in sharing %}
- {{ words }}.
{% endfor %}
{% if in_network is not none %}
- The network's answers took {{ in_network }} % of the time of these attacks, fits included.
{% endif %}

Attacks of a release see the same noise, and an answer that one of them asked for is given to the others from memory.
The queries of each attack are counted as if it ran alone. Sampling walks and gradients of an attack's own are not among
these.

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The calls that were shared; None where none were made."""
    found = format_shared_calls(run)
    share = share_in_network(run)
    return {"sharing": found, "in_network": None if share is None else f"{100 * share:.0f}"} if found else None

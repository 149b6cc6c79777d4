"""Gates over time: how often a gated defense fires at each timestep, and how far its classifier can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.runtime.errors import UsageError

from ..reading.selection import quality_records
from .canvas import COLUMN, PAGE, MissingData, entries, figure, legend, panel_grid, panels_across
from .styles import PointStyle, list_styles
from .values import Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CAPTION = (
    "Share of samples at which the gate fires, and of images on which the defense's classifier is right, by timestep; "
    "means over the seeds. Right on held-out images is chance at best: their labels are coins. "
    "Sure on held-out: images it never saw on which it is sure of a label (|p - 1/2| > 0.49), so that a gate opens."
)
FACTS = {"gate_rate_by_t": "gate rate", "classifier_accuracy_by_t": "classifier, share of images"}
GROUPS = {"member": "right on members", "heldout": "right on held-out", "confident": "sure on held-out"}
_LEAST = 2.2  # inches of a panel
_DASHES = ("-", "--", ":", "-.")
Line = dict[float, float]  # value by timestep


@dataclass(frozen=True)
class Trace:
    """A line of a point, on a group of images ("" if there is but one); `alike` more points have the same line."""

    label: str
    style: PointStyle
    group: str
    line: Line
    alike: int = 0


@dataclass(frozen=True)
class Gates:
    """The lines of each fact."""

    facts: dict[str, list[Trace]]

    @property
    def groups(self) -> list[str]:
        """The groups of images, which dashes tell apart; members first."""
        found = {trace.group for traces in self.facts.values() for trace in traces if trace.group}
        return sorted(found, key=lambda group: ([*GROUPS, group].index(group), group))


def collect_data(run: RunFolder) -> Gates:
    """Collect the lines. Raises MissingData where no release says anything of a gate."""
    facts = {fact: _traces(run, fact) for fact in FACTS}
    facts = {fact: traces for fact, traces in facts.items() if traces}
    if not facts:
        raise MissingData("no release has a gate")
    return Gates(facts)


def _traces(run: RunFolder, fact: str) -> list[Trace]:
    styles = list_styles(run)
    found: list[Trace] = []
    for point in run.plan.points:
        for group, line in _mean([_read(record, fact) for record in quality_records(run, point)]).items():
            twins = [t for t in found if (t.group, t.line) == (group, line)]
            if not twins:
                found.append(Trace(point.name, styles[point.name], group, line))
            else:  # one classifier serves a sweep, or several defenses; a gate may be always open
                found[found.index(twins[0])] = replace(twins[0], alike=twins[0].alike + 1)
    alone = len({trace.label for trace in found}) == 1
    return [replace(trace, label=_several(trace, fact, alone)) if trace.alike else trace for trace in found]


def _several(trace: Trace, fact: str, alone: bool) -> str:
    if alone and fact == "classifier_accuracy_by_t":
        return "one classifier for all"
    return f"{trace.label} (+ {trace.alike} alike)"


def _read(record: Record, fact: str) -> dict[str, Line]:
    """A fact by group of images, from {t: value}, or from {"t": [...], "member": [...], ...}. Raises UsageError for a
    record that has something else there."""
    facts = record.info.get("defense")
    value: Any = (facts if isinstance(facts, dict) else record.info).get(fact) or {}
    try:
        if "t" not in value:
            return {"": _line(value.items())} if value else {}
        return {group: _line(zip(value["t"], v, strict=True)) for group, v in value.items() if group != "t"}
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise UsageError(f"records/{record.stem}.json: info: {fact}: should hold a number for each timestep") from None


def _line(items: Any) -> Line:
    return dict(sorted((float(t), float(value)) for t, value in items if value is not None))


def _mean(seeds: list[dict[str, Line]]) -> dict[str, Line]:
    gathered: dict[str, dict[float, list[float]]] = {}
    for seed in seeds:
        for group, line in seed.items():
            for t, value in line.items():
                gathered.setdefault(group, {}).setdefault(t, []).append(value)
    return {group: {t: sum(v) / len(v) for t, v in line.items()} for group, line in gathered.items()}


def plot(data: Gates, width: float | None = None) -> Figure:
    """Plot one panel a fact; colours are points, dashes are groups of images."""
    from matplotlib.lines import Line2D

    width = width or (COLUMN if len(data.facts) == 1 else PAGE)
    across = panels_across(len(data.facts), width, _LEAST)
    drawn = figure(width, 1.9 * -(-len(data.facts) // across))
    (axes,) = panel_grid(drawn, 1, len(data.facts), across, share_x="all")
    dashes: dict[str, Any] = {group: _DASHES[i % len(_DASHES)] for i, group in enumerate(data.groups)}
    for ax, (fact, traces) in zip(axes, data.facts.items(), strict=True):
        _panel(ax, FACTS[fact], traces, dashes)
    groups = {GROUPS.get(group, group): Line2D([], [], color="0.4", linestyle=dash) for group, dash in dashes.items()}
    legend(drawn, entries(axes) | groups)
    return drawn


def _panel(ax: Axes, label: str, traces: list[Trace], dashes: dict[str, Any]) -> None:
    # Solid lines last: they are the legend's.
    for trace in sorted(traces, key=lambda trace: trace.group in list(dashes)[:1]):
        options: dict[str, Any] = {"color": trace.style.colour, "linewidth": 1.8 if trace.alike else 1.0}
        ax.plot(list(trace.line), list(trace.line.values()), dashes.get(trace.group, "-"), label=trace.label, **options)
    ax.set(xlabel="timestep t", ylabel=label, ylim=(-0.03, 1.03))


def list_values(data: Gates) -> list[Values]:
    """The numbers of the figure."""
    return [
        {"panel": FACTS[fact], "point": trace.label, "images": GROUPS.get(trace.group, trace.group), "t": t, "share": y}
        for fact, traces in data.facts.items()
        for trace in traces
        for t, y in trace.line.items()
    ]

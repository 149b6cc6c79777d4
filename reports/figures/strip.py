"""The distance axis of the trade-off: controls that lie far beyond all else stand in a strip at its right end.

An untrained network's distance is some tens of times a trained one's; drawn to scale it would press all other points
together. Its distance is printed in the strip instead, and its leakage is drawn to scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CROWDED = 12.0  # a wider range of distances than this gets a logarithmic axis
_MARGIN, _STRIP = 0.06, 0.2  # of the range
_HEADROOM = 0.15  # of the height, for the words


@dataclass(frozen=True)
class Strip:
    """Limits of the axis proper, and the distances that stand beyond it."""

    low: float
    high: float
    log: bool
    far: tuple[float, ...]

    def place(self, distance: float) -> float:
        """The place of a distance on the axis."""
        if distance not in self.far:
            return distance
        return self._back(self._of(self.high) + self._width * (self.far.index(distance) + 1) / (len(self.far) + 1))

    def apply(self, ax: Axes) -> None:
        """Set scale and limits, and mark the strip with the distances in it."""
        from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

        if self.log:
            ax.set_xscale("log")
        end = self._back(self._of(self.high) + self._width) if self.far else self.high
        ax.set_xlim(self.low, end)
        finder = LogLocator(subs=(1.0, 2.0, 5.0)) if self.log else MaxNLocator(6)
        ticks = finder.tick_values(self.low, self.high)
        ax.xaxis.set_major_locator(FixedLocator([t for t in ticks if self.low <= t <= self.high]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        if self.far:
            ax.axvspan(self.high, end, color="0.95", linewidth=0, zorder=0)
            text = "off axis,\nat " + ", ".join(f"{distance:.3g}" for distance in self.far)
            middle = self._back(self._of(self.high) + self._width / 2)
            place = ax.get_xaxis_transform()  # x as data, y as a share of the axes
            blank = {"facecolor": "0.95", "edgecolor": "none", "pad": 1.0}  # no line runs through the words
            ax.text(middle, 0.98, text, ha="center", va="top", fontsize=5.5, color="0.3", transform=place, bbox=blank)
            self._clear_words(ax)

    def _clear_words(self, ax: Axes) -> None:
        """Raise the axis where a bar in the strip would run through the words at its top."""
        from matplotlib.collections import LineCollection

        bottom, top = ax.get_ylim()
        bars = [bar for drawn in ax.collections if isinstance(drawn, LineCollection) for bar in drawn.get_segments()]
        reached = max((y for bar in bars for x, y in bar if x > self.high), default=bottom)
        if reached > top - _HEADROOM * (top - bottom):
            ax.set_ylim(bottom, top + _HEADROOM * (top - bottom))

    @property
    def _width(self) -> float:
        return _STRIP * (self._of(self.high) - self._of(self.low))

    def _of(self, x: float) -> float:
        return log10(x) if self.log else x

    def _back(self, x: float) -> float:
        return float(10**x) if self.log else x


def crowded(values: Sequence[float]) -> bool:
    """Tell whether a linear axis would press the smaller of these together."""
    return min(values) > 0 and max(values) / min(values) > _CROWDED


def strip(near: Sequence[float], controls: Sequence[float]) -> Strip:
    """An axis for the distances `near`; a control that would more than double its length stands beyond it."""
    values = list(near) or list(controls)
    far = tuple(sorted({c for c in controls if c > 2 * max(values) - min(values)}))
    values += [c for c in controls if c not in far]
    log = crowded(values)
    of = log10 if log else float
    low, high = of(min(values)), of(max(values))
    margin = _MARGIN * ((high - low) or abs(high) or 1.0)
    low, high = low - margin, high + margin
    return Strip(float(10**low), float(10**high), log, far) if log else Strip(low, high, log, far)

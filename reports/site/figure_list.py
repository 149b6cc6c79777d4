"""The figures of a report: those that have been drawn, with captions, and why the others were not."""

from __future__ import annotations

from leakbench.results.run_folder import RunFolder

from ..figures import tradeoff
from ..figures.canvas import MissingData
from ..figures.registry import CHARTS, FOLDER
from ..reading.formatting import join_words
from ..sections.section import template_environment

TEMPLATE = """\
## Figures

{% for name, caption in drawn %}
![{{ name }}]({{ folder }}/{{ name }}.png)

*{{ caption }}*

{% endfor %}
{% for name, reason in skipped %}
- `{{ name }}` was not drawn: {{ reason or "figures were not asked for (`leakbench report DIR --format drawings`)" }}.
{% endfor %}

"""


def render_figures(run: RunFolder) -> str:
    """The section as text."""
    drawn = {chart.name for chart in CHARTS if (run.path / FOLDER / f"{chart.name}.png").is_file()}
    overlaps = {"tradeoff": _describe_overlap(run)}
    return (
        template_environment()
        .from_string(TEMPLATE)
        .render(
            folder=FOLDER,
            drawn=[(c.name, f"{c.caption}{overlaps.get(c.name, '')}") for c in CHARTS if c.name in drawn],
            skipped=[(c.name, c.missing(run)) for c in CHARTS if c.name not in drawn],
        )
    )


def _describe_overlap(run: RunFolder) -> str:
    """A sentence on panels whose points lie on top of each other, which a figure would hide."""
    titles = list_overlapping_panels(run)
    if not titles:
        return ""
    which = join_words(titles)
    return f" In {which} the points (controls aside) leak alike, to within 0.001: they differ in quality alone."


def list_overlapping_panels(run: RunFolder) -> list[str]:
    """The panels of the trade-off whose points all leak alike."""
    try:
        return [panel.title for panel in tradeoff.collect_data(run).panels if panel.coincide]
    except MissingData:
        return []

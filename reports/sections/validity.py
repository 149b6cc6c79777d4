"""Results of this run that mean nothing, or less than they seem to: a void track, rows of defenses that changed or
learned nothing, people on both sides of the split, and images that overlap across it."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from ..reading.marks import find_marks
from ..reading.void import list_void_reasons, read_overlap

TEMPLATE = """\
{% if void %}
> **This track is void**: {{ void | map(attribute="words") | join("; ") }}. Membership results of this run say nothing
> about any model.

{% endif %}
{% if shared %}
> **People on both sides** (`shared-groups`): {{ shared.shared | counted("group") }} (people, patients, scenes)
> have images that were trained on and images that were held out, and {{ shared.shared_nonmembers }} of the
> reported nonmembers are theirs. Numbers by image ask "were these images used?", and of these nonmembers the answer is
> no. "Was anything of this person used?" is another question, and of them its answer is yes: where a model knows people
> rather than pictures, such nonmembers score as members do, and numbers by image understate what it gives away of
> people.

{% endif %}
{% if overlap.count and not void %}
> **{{ overlap.count }} of {{ overlap.compared }} nonmembers overlap a member** (`overlapping-sides`), mirrored, moved,
> cropped or relit; `overlap.csv` lists them. They were trained on in all but name, and leaks look smaller than they
> are: take them out.

{% endif %}
{% for point, marks in marked %}
> **{{ point }}** means nothing here: {% for mark in marks %}{{ mark.words }} (`{{ mark.flag }}`)
{%- if not loop.last %}; {% endif %}{% endfor %}.

{% endfor %}
"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The reasons for which the track is void, the points whose rows mean nothing, groups and images on both sides;
    None without any."""
    void = list_void_reasons(run)
    marked = [(p.name, marks) for p in run.plan.points if (marks := find_marks(run, p.name))]
    groups = run.plan.groups
    shared = groups if groups is not None and groups.shared else None
    overlap = read_overlap(run)
    facts = {"void": void, "marked": marked, "shared": shared, "overlap": overlap}
    return facts if void or marked or shared or overlap.count else None

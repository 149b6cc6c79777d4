"""Membership attacks: results and costs, of all attacks without protection and of the strongest elsewhere.

Without protection a computation that is on record at two access levels is listed once, at the lower, and attacks that
learned from membership labels have a table of their own. At every point stands what stands at each access level in
the trade-off and under "Verdicts" (`reading/standing.py`), and every attack that knows the defense.

Intervals, verdicts and p values are those of the release's family (`reading/family.py`), of which a table shows some:
what is said here is what is said under "Verdicts". Implementation choice: over seeds the p value of "AUC 1/2" is the
largest of the seeds', which tests that each seed leaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leakbench.results.flags import Flag
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Estimate, smallest_detectable_auc

from ..reading.aggregate import aggregate
from ..reading.attack_ranking import MANY, baseline_points, rank_results
from ..reading.attack_results import AttackResult
from ..reading.family import find_corrected, read_p
from ..reading.formatting import (
    NOTHING,
    drop_empty_columns,
    format_calls,
    format_ci,
    format_p,
    rate_title,
    round_up,
)
from ..reading.inapplicable import list_inapplicable
from ..reading.runner_up import format_runners_up
from ..reading.standing import Standing, list_standings_and_adaptive, stand_alone
from ..reading.strongest import representative_points
from ..reading.tradeoff_text import format_rate
from ..reading.verdicts import leak_kind
from ..reading.void import list_void_reasons

LABELS = "labels_consumed"
_GENERATED = "over own samples"
_KINDS = {"leaks": "leaks", "inverted": "leaks, inverted", "none": "no leak found", "disagree": "seeds disagree"}


@dataclass(frozen=True)
class AttackTable:
    """A table of attacks: of a point, or of several if `point` is empty."""

    point: str
    supervised: bool
    titles: list[str]
    cells: list[list[str]]
    adaptive: bool = False  # the run has attacks that know the defense

    @property
    def heading(self) -> str:
        """The line above the table."""
        if self.point:
            return f"**{self.point}**" + (", attacks that learned from membership labels" if self.supervised else "")
        which = "the strongest of each access level"
        which += " and every attack that knows the defense" if self.adaptive else ""
        return f"At every point, {which}"


def attack_tables(run: RunFolder) -> list[AttackTable]:
    """Tables of each point without protection, without labels and with, and of what stands at all points together."""
    whole = baseline_points(run)
    shown = run.plan.points if len(run.plan.points) <= MANY else representative_points(run)
    every = [point for point in run.plan.points if point in whole or (point in shown and point.is_compared)]
    found = [_table(run, point.name, half) for point in whole for half in _halves(rank_results(run, point))]
    rest = [row for point in every for row in list_standings_and_adaptive(run, point)]
    return [table for table in (*found, _table(run, "", rest)) if table is not None]


def _halves(rows: list[AttackResult]) -> tuple[list[Standing], list[Standing]]:
    """Results without labels, and with."""
    plain, supervised = ([row for row in rows if (row.fact(LABELS) > 0) == taken] for taken in (False, True))
    return [stand_alone(row) for row in plain], [stand_alone(row) for row in supervised]


def _table(run: RunFolder, point: str, rows: list[Standing]) -> AttackTable | None:
    if not rows:
        return None
    titles = ["point", "attack", "needs", "AUC", rate_title(run.plan.headline), "verdict", "p (corrected)"]
    titles += [_GENERATED, "queries an image", "labels", "public images", "shadow models"]
    cells = [_cells(run, row) for row in rows]
    if point:
        titles, cells = titles[1:], [row[1:] for row in cells]
    adaptive = any(record.adaptive for record in run.records)
    supervised = bool(point) and _fact(rows[0], LABELS) > 0
    return AttackTable(point, supervised, *drop_empty_columns(titles, cells), adaptive)


def _cells(run: RunFolder, row: Standing) -> list[str]:
    leak = row.collect(run)
    facts = [_fact(row, name) for name in (LABELS, "public_images", "shadow_models")]
    return [
        *(row.point.name, leak.attack, ", ".join(row.levels), format_ci(leak.auc), format_rate(leak)),
        "void" if list_void_reasons(run) else _KINDS.get(leak_kind(leak), NOTHING),
        format_p(read_p(run, list(row.by_auc.values()))),
        _generated(row),
        format_calls(row.queries),
        *(str(fact) if fact else NOTHING for fact in facts),
    ]


def _generated(row: Standing) -> str:
    """The AUC of members against the model's own samples, and whether the attack tells style at some seed."""
    found = aggregate(row.by_auc.values(), "generated_auc")
    style = any(Flag.DETECTS_STYLE in record.flags for record in row.by_auc.values())
    return format_ci(found) + (" (style)" if style else "")


def _fact(row: Standing, name: str) -> int:
    """A number that the records tell of their attacks, the largest; 0 where they do not."""
    return max(int(record.info.get(name) or 0) for record in row.records)


def smallest_detectable(run: RunFolder) -> str:
    """The AUC by image that the weakest of the run's families would have seen: the one with the fewest images or the
    most attacks; empty without any."""
    found = [
        _smallest_detectable(one.auc, one.level)
        for record in run.records
        if record.family == "membership" and record.access != "NONE" and record.unit == "image"
        if (one := find_corrected(run, record)) is not None and one.auc.n > 0
    ]
    return round_up(max(found)) if found else ""


def _smallest_detectable(auc: Estimate, level: float) -> float:
    if auc.exact is None:
        return smallest_detectable_auc(auc.independent, level)
    return 1.0 if auc.exact.detectable is None else auc.exact.detectable


TEMPLATE = """\
## Attacks

{% for one in tables %}
{{ one.heading }}:

{{ table(one.titles, one.cells) }}
{% endfor %}
{% if tables %}
"Needs" is the access that an attack has to have. Without protection, a result that is the same computation at the
answers and at the weights is listed once. The strongest is that of the trade-off, and is chosen at each seed by itself.
Where seeds choose different attacks, both are named, and the AUC is the mean of one attack's at one seed and the
other's at another. Levels at which the same computations stand share a row, the TPR
is that of another attack where one is named beside it, and the queries are those of the attack that takes most. The
rest is in `results.csv`. A verdict is about its own row, by AUC and TPR; its intervals and "p (corrected)", that of an
AUC of 1/2 (the largest of the seeds'), are corrected for all attacks on the release, those that are not shown among
them. `results.csv` has each attack's own interval.
{% if controlled %}

"Over own samples" is the AUC of members against the model's own samples, scored as if they were members: an attack that
puts these as high knows what the model finds easy, not what it was trained on, and is marked "style" (`detects-style`).
Copies of members, where the model makes any, are among its samples and pull the number to 0.5 as well.
{% endif %}
{% if seen %}
Where "no leak found" is said, an AUC of {{ seen }} would have been found in four of five runs.
{% endif %}

{% endif %}
{% if inapplicable %}
Not applicable, and so not run:

{% for words in inapplicable %}
- {{ words }}.
{% endfor %}
{% endif %}
{% if runners_up %}

Does the attack that the calibration images put first find more than the next? (On the reported images another may be
the strongest.) Its AUC minus theirs, paired on the same images, p corrected by Holm:

{% for words in runners_up %}
- {{ words }}.
{% endfor %}
{% endif %}

"""


def collect(run: RunFolder) -> dict[str, Any] | None:
    """The tables and what to read them by, and the attacks of any family that were not run; None without either."""
    tables, left_out = attack_tables(run), list_inapplicable(run)
    if not tables and not left_out:
        return None
    return {
        "tables": tables,
        "controlled": any(_GENERATED in table.titles for table in tables),
        "seen": smallest_detectable(run),
        "inapplicable": left_out,
        "runners_up": format_runners_up(run),
    }

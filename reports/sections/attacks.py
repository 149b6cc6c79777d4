"""Membership attacks: results and costs, of all attacks without protection and of the strongest elsewhere.

At other points the strongest of each access level are shown, chosen on calibration images, and every attack that knows
the defense. A computation that is on record twice is listed once: at the lower of two access levels, and without
protection rather than at a defense that leaves it as it is. Attacks that learned from membership labels have tables of
their own.

Implementation choices: over seeds the p value of "AUC 1/2" is the largest of the seeds', which tests that each seed
leaks. Holm's correction is over the rows of one table. The rows of the other points were not chosen on reported images,
so it holds there too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leakbench.results.run_folder import RunFolder
from leakbench.statistics import auc_p_value, smallest_detectable_auc

from ..reading.attack_ranking import MANY, baseline_points, rank_results, repeats_reference, top_attacks
from ..reading.attack_results import AttackResult, adjust_p_values
from ..reading.formatting import (
    NOTHING,
    drop_empty_columns,
    format_calls,
    format_ci,
    format_p,
    format_percent,
    rate_title,
    round_up,
)
from ..reading.inapplicable import list_inapplicable
from ..reading.leakage import collect_leak
from ..reading.runner_up import format_runners_up
from ..reading.scores import load_groups, load_scores
from ..reading.strongest import representative_points
from ..reading.verdicts import verdict_kind
from ..reading.void import list_void_reasons

LABELS = "labels_consumed"
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
        which += ", of those that learned from membership labels" if self.supervised else ""
        return f"At other points, {which}"


def attack_tables(run: RunFolder) -> list[AttackTable]:
    """Tables of each point without protection and of all others together; each without labels and with."""
    whole = baseline_points(run)
    shown = run.plan.points if len(run.plan.points) <= MANY else representative_points(run)
    others = [point for point in shown if point.role == "defense"]
    found = [_table(run, point.name, half) for point in whole for half in _halves(rank_results(run, point))]
    rest = [_halves(rank_results(run, point)) for point in others if point not in whole]
    for half in zip(*rest, strict=True):
        top = [row for rows in half for row in top_attacks(run, rows)]
        found.append(_table(run, "", [row for row in top if not repeats_reference(run, row)]))
    return [table for table in found if table is not None]


def _halves(rows: list[AttackResult]) -> tuple[list[AttackResult], list[AttackResult]]:
    """Results without labels, and with."""
    return [row for row in rows if not row.fact(LABELS)], [row for row in rows if row.fact(LABELS)]


def _table(run: RunFolder, point: str, rows: list[AttackResult]) -> AttackTable | None:
    if not rows:
        return None
    titles = ["point", "attack", "needs", "AUC", rate_title(run.plan.headline), "verdict", "p (Holm)"]
    titles += ["queries an image", "labels", "public images", "shadow models"]
    adjusted = adjust_p_values([compute_p(run, row) for row in rows])
    cells = [_cells(run, row, p) for row, p in zip(rows, adjusted, strict=True)]
    if point:
        titles, cells = titles[1:], [row[1:] for row in cells]
    adaptive = any(record.adaptive for record in run.records)
    return AttackTable(point, rows[0].fact(LABELS) > 0, *drop_empty_columns(titles, cells), adaptive)


def _cells(run: RunFolder, row: AttackResult, p: float | None) -> list[str]:
    leak = collect_leak(run, list(row.records))
    facts = [row.fact(name) for name in (LABELS, "public_images", "shadow_models")]
    return [
        *(row.point.name, leak.attack, row.access, format_ci(leak.auc), format_percent(leak.tpr)),
        *("void" if list_void_reasons(run) else _KINDS.get(verdict_kind(leak.auc), NOTHING), format_p(p)),
        format_calls(sum(record.queries for record in row.records) / len(row.records)),
        *(str(fact) if fact else NOTHING for fact in facts),
    ]


def compute_p(run: RunFolder, row: AttackResult) -> float | None:
    """The p value of "AUC 1/2 at some seed": the largest of the seeds'; None where a seed kept no scores."""
    found = [(load_scores(run, record), load_groups(run, record)) for record in row.records]
    return None if any(sides is None for sides, _ in found) else max(auc_p_value(*s, g) for s, g in found if s)


def smallest_detectable(run: RunFolder) -> str:
    """The AUC that the smallest of the run's measurements would have seen; empty without any."""
    sizes = [
        metric.n
        for record in run.records
        if record.family == "membership" and (metric := record.metric("auc")) is not None and metric.n > 0
    ]
    return round_up(smallest_detectable_auc(min(sizes))) if sizes else ""


TEMPLATE = """\
## Attacks

{% for one in tables %}
{{ one.heading }}:

{{ table(one.titles, one.cells) }}
{% endfor %}
{% if tables %}
"Needs" is the access that an attack has to have. A result that is the same computation at the answers and at the
weights, or with and without a defense, is listed once; the rest is in `results.csv`. A verdict is about its own row. "p
(Holm)" is that of an AUC of 1/2 (the largest of the seeds'), corrected for the number of rows of the table.
{% if seen %}
"No leak found" would have seen an AUC of {{ seen }} in four of five runs.
{% endif %}

{% endif %}
{% if inapplicable %}
Not applicable, and so not run:

{% for words in inapplicable %}
- {{ words }}.
{% endfor %}
{% endif %}
{% if runners_up %}

Is the strongest attack (by calibration images) really stronger than the next? Its AUC minus theirs, paired on the same
images, p corrected by Holm:

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
        "seen": smallest_detectable(run),
        "inapplicable": left_out,
        "runners_up": format_runners_up(run),
    }

"""The setting of the run: data set, network, seeds, split, and what of the plan was not measured."""

from __future__ import annotations

import json
from typing import Any

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder

from ..reading.exact_tests import is_few
from ..reading.formatting import rate_title
from ..reading.pretrained import pretrained_defenses
from ..reading.tradeoff import list_rows
from ..reading.unmeasured import list_unmeasured

TEMPLATE = """\
## What was run

| | |
|---|---|
| data set | {{ datasets | join(", ") | cell }} |
| network | {{ models | join(", ") | cell }} |
| seeds | {{ seeds | join(", ") }} |
| headline metric | {{ headline }} |
{% if ensemble %}
| attacks | {{ ensemble | cell }} |
{% endif %}
{% for key, value in split.items() %}
| split: {{ key | replace("_", " ") | cell }} | {{ value | cell }} |
{% endfor %}

{% if groups %}
Images come in groups (people, patients, scenes): {{ groups | join(", ") }}. Intervals, tests, verdicts and what could
have been seen count groups.
{% else %}
Each image is taken to be of another person (patient, scene). Where several are of one, intervals are too narrow:
`--groups` or `--group-by` says whose each is.
{% endif %}

{{ records | counted("record") }} found on disk.
{% if unmeasured %}
Planned but not measured: {{ unmeasured | join_words }}.
{% endif %}
{% if lacking %}
Not measured everywhere: {{ lacking | join("; ") }}. The strongest attack that stands there is the strongest of fewer; a
command that asks for both measures them.
{% endif %}
{% if strays %}
Measured but not in the plan, and left out below: {{ strays | join_words }}.
{% endif %}

{% if pretrained %}
**{{ pretrained | join_words }}: handed in, not trained here.** Which images are members is what whoever asked for this
{% if few %}
audit says. There are too few images to calibrate ("Few images"); reference images were drawn at random. The blind
{% else %}
audit says. Calibration and reference images were drawn at random from both sides, unless the data set itself names its
parts. The blind
{% endif %}
baseline, where it is run, tests for other differences between the two sides. There is no positive
control (a model of this kind, over-fitted until it must leak) and there are no shadow models, since both would have to
be trained: "no leak found" covers only the attacks that could be run. Copies are searched for among the given members
only.

{% endif %}
"""


def collect(run: RunFolder) -> dict[str, Any]:
    """The setting of the run."""
    rows = list_rows(run)
    return {
        **describe_setting(run),
        "ensemble": run.plan.ensemble,
        "records": len(run.records),
        "headline": rate_title(run.plan.headline),
        "strays": sorted({r.point for r in run.records} - {row.point.name for row in rows}),
        "lacking": list_unmeasured(run),
        "groups": run.plan.groups and [f"{count} of {part}" for part, count in run.plan.groups.by_part.items()],
        "unmeasured": [row.point.name for row in rows if row.seeds == 0],
        "pretrained": pretrained_defenses(run),
        "few": any(map(is_few, run.records)),
    }


def describe_setting(run: RunFolder) -> dict[str, Any]:
    """Data sets, networks, seeds and split of a run."""
    seeds = run.plan.seeds or sorted({r.seed for r in run.records})
    return {
        "datasets": _distinct(run.records, "dataset"),
        "models": _distinct(run.records, "model"),
        "split": {key: _plain(value) for key, value in run.plan.split.items()},
        "seeds": [str(seed) for seed in seeds],
    }


def _distinct(records: list[Record], key: str) -> list[str]:
    return sorted({str(getattr(record, key)) for record in records})


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)

"""every_eval_ever.jsonl: the results in the schema of Every Eval Ever, one object a point.

The schema is that of the package `every-eval-ever`, version 0.3.0. Its data store wants each object as a .json file of
its own, in the folder that the model's id names. Results over seeds are given with their intervals; images are not, as
they would say who was a member. The schema asks of every metric whether lower is better: of those that are best at 0.5
or 0 the answer is yes, and `better` among the details says it exactly. Metrics without a direction are left out.
"""

from __future__ import annotations

import json
import re
from math import inf, isfinite, isnan
from pathlib import Path
from typing import Any

from leakbench.results.metric_specs import MetricSpec, find_metric
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.runtime.files import write_atomically
from leakbench.statistics import Estimate

from ..reading.aggregate import aggregate
from ..reading.metric_flags import read_flags

SCHEMA = "0.3.0"
NAME = "every_eval_ever.jsonl"


def write_jsonl(run: RunFolder) -> list[Path]:
    """Write the file into the run's folder."""
    found = [describe_point(run, point) for point in run.plan.points]
    text = "".join(json.dumps(one, sort_keys=True) + "\n" for one in found if one["evaluation_results"])
    write_atomically(run.path / NAME, text.encode())
    return [run.path / NAME]


def describe_point(run: RunFolder, point: PlannedPoint) -> dict[str, Any]:
    """The object of one point: where it comes from, the model, and a result for each metric of each attack."""
    suite, made = run.plan.suite or run.path.name, _made(run)
    records = [record for record in run.records if record.point == point.name]
    versions = {v for r in records if (v := r.run.environment.auditor.get("leakbench"))}
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"leakbench/{suite}/{point.name}/{made}",
        "retrieved_timestamp": made,
        "source_metadata": {
            "source_name": suite,
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "leakbench", "version": ", ".join(sorted(versions)) or "unknown"},
        "model_info": {
            "name": point.name,
            "id": f"{_folder(suite)}/{_folder(point.name)}",
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                "network": run.plan.model,
                "methods": " > ".join(point.chain),
                "role": point.role,
            },
        },
        "evaluation_results": [one for group in _grouped(records).values() for one in _results(run, group)],
    }


def _folder(name: str) -> str:
    """A name as the folder of a data store may have it."""
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", name).strip("-.") or "unnamed"


def _made(run: RunFolder) -> str:
    """Seconds of the epoch at which the newest record was written."""
    return str(max((int(path.stat().st_mtime) for path in (run.path / "records").glob("*.json")), default=0))


def _grouped(records: list[Record]) -> dict[tuple[str, str], list[Record]]:
    """Records of the seeds, by attack and access level."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        found.setdefault((record.attack, record.access), []).append(record)
    return found


def _results(run: RunFolder, records: list[Record]) -> list[dict[str, Any]]:
    names = dict.fromkeys(metric.name for record in records for metric in record.metrics)
    found = [(find_metric(name), aggregate(records, name)) for name in names]
    return [_result(run, records, spec, one.estimate) for spec, one in found if spec.better and one is not None]


def _result(run: RunFolder, records: list[Record], spec: MetricSpec, found: Estimate) -> dict[str, Any]:
    first = records[0]
    flags = sorted({flag for record in records for flag in read_flags(run, record, spec.name)})
    score: dict[str, Any] = {"score": found.value, "details": {"flags": ";".join(flags), "seeds": str(len(records))}}
    score["uncertainty"] = {"num_samples": found.n}
    if not isnan(found.low) and not isnan(found.high):
        bounds = {"lower": found.low, "upper": found.high, "confidence_level": 0.95}
        score["uncertainty"]["confidence_interval"] = bounds
    return {
        "evaluation_result_id": f"{first.attack}/{first.access}/{spec.name}",
        "evaluation_name": first.attack,
        "source_data": {"dataset_name": first.dataset, "source_type": "other"},
        "metric_config": {
            "metric_id": spec.name,
            "metric_name": spec.title,
            "metric_unit": spec.unit or "number",
            "lower_is_better": spec.better != "higher",
            "score_type": "continuous",
            "min_score": _bound(spec.low),
            "max_score": _bound(spec.high),
            "additional_details": {"better": spec.better, "access": first.access, "family": first.family},
        },
        "score_details": score,
    }


def _bound(value: float) -> float | str:
    if isfinite(value):
        return value
    return "Infinity" if value == inf else "-Infinity"

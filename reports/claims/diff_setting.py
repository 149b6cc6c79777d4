"""What changed between two runs apart from their numbers: plan, data, versions, code, and what only one of them has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import RunPlan

Kind = Literal["plan", "data", "versions", "code", "points", "attacks"]

_NAMED = ("defense", "attack")  # lists of the plan whose entries have ids
_TOLD = {"name", "summary", "version", "published", "dataset", "split", "ensemble", "headline", "seeds"}
_MOST = 5  # modules that are named


@dataclass(frozen=True)
class SettingChange:
    """Something that is not the same in both runs. old, new: as text; "" where there was none."""

    kind: Kind
    what: str
    old: str
    new: str


def list_changes(old: RunFolder, new: RunFolder) -> list[SettingChange]:
    """All that changed, by kind: the plan, the data and its split, versions, the code of methods, points and attacks
    that only one run has."""
    found = [
        *_compare("plan", _plan_facts(old.plan), _plan_facts(new.plan)),
        *_compare("data", _data_facts(old.plan), _data_facts(new.plan)),
        *_compare("versions", _versions(old.records), _versions(new.records)),
        *_compare_code(old.records, new.records),
    ]
    points = ({p.name for p in run.plan.points} for run in (old, new))
    attacks = (set(run.plan.attacks) or {record.attack for record in run.records} for run in (old, new))
    return [*found, *_one_sided("points", *points), *_one_sided("attacks", *attacks)]


def _plan_facts(plan: RunPlan) -> dict[str, str]:
    facts = {"suite": plan.suite, "ensemble": plan.ensemble, "model": plan.model, "headline": plan.headline}
    facts |= {"seeds": ", ".join(map(str, plan.seeds)), "samples": str(plan.samples), "features": plan.features}
    facts["budget"] = f"{plan.budget.minutes:g} minutes" if plan.budget else ""
    settings = {key: value for key, value in plan.settings.items() if key not in _TOLD}
    return facts | dict(_flatten(settings, ""))


def _flatten(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Settings by dotted key, as the suite file and --set call them; entries of a list of methods by their ids."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flatten(inner, f"{key}.{name}" if key else str(name))
    elif key in _NAMED and isinstance(value, list):
        for entry in value:
            identity = str(entry.get("id") or entry.get("name"))
            yield from _flatten({name: one for name, one in entry.items() if name != "id"}, f"{key}.{identity}")
    elif value is not None and value is not False and value not in ("", []):  # off, as where there is no such key yet
        yield key, str(value)


def _data_facts(plan: RunPlan) -> dict[str, str]:
    split = plan.settings.get("split") or {}
    drawn = {f"split.{key}": str(split[key]) for key in ("seed", "file") if split.get(key)}
    counts = {key.replace("_", " "): str(value) for key, value in plan.split.items()}
    return {"data set": plan.dataset, **counts, **drawn}


def _versions(records: Sequence[Record]) -> dict[str, str]:
    """Packages and devices of the processes that audited and that trained, where these are others."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in record.run.environment.auditor.items():
            found.setdefault(name, set()).add(version)
    for record in records:
        for name, version in record.run.environment.trainer.items():
            if version not in found.get(name, ()):
                found.setdefault(f"{name} of the training", set()).add(version)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def _compare_code(old: Sequence[Record], new: Sequence[Record]) -> list[SettingChange]:
    """The modules that measuring and attacks run through, where their code is not the same; plugins' versions."""
    sides = [_modules(records) for records in (old, new)]
    changed = sorted(name for name in sides[0].keys() & sides[1].keys() if sides[0][name] != sides[1][name])
    versions = [_plugin_versions(records) for records in (old, new)]
    both = versions[0].keys() & versions[1].keys()  # earlier versions kept none
    found = _compare("code", *({name: side[name] for name in sorted(both)} for side in versions))
    if changed:
        more = f" and {len(changed) - _MOST} more" if len(changed) > _MOST else ""
        names = ", ".join(name.removeprefix("leakbench.") for name in changed[:_MOST])
        found.append(SettingChange("code", "modules", "as they were", f"changed: {names}{more}"))
    return found


def _modules(records: Sequence[Record]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for record in records:
        for name, digest in (record.run.key.get("code") or {}).items():
            found.setdefault(str(name), set()).add(str(digest))
    return found


def _plugin_versions(records: Sequence[Record]) -> dict[str, str]:
    return {f"attack {r.attack}": f"version {r.run.key['version']}" for r in records if r.run.key.get("version")}


def _compare(kind: Kind, old: Mapping[str, str], new: Mapping[str, str]) -> list[SettingChange]:
    names = [*old, *(name for name in new if name not in old)]
    return [
        SettingChange(kind, name, old.get(name, ""), new.get(name, ""))
        for name in names
        if old.get(name, "") != new.get(name, "")
    ]


def _one_sided(kind: Kind, old: set[str], new: set[str]) -> list[SettingChange]:
    gone = [SettingChange(kind, name, "there", "") for name in sorted(old - new)]
    return gone + [SettingChange(kind, name, "", "there") for name in sorted(new - old)]

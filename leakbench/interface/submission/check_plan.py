"""The plan of a submission: what it says follows from its settings, and its records are the ones it asks for."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from math import prod
from typing import Any

from leakbench.api import Access, Attack
from leakbench.interface.submission.findings import Findings
from leakbench.measurement.families import MEASUREMENTS
from leakbench.results.record import QUALITY, Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import RunPlan
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.runtime.toml_file import validate
from leakbench.suite.ensemble import format_ensemble
from leakbench.suite.entries import build_plugin
from leakbench.suite.file import SuiteFile
from leakbench.suite.points import expand_points

Cell = tuple[str, str, str, int]  # point, attack, access, seed

_MOST_CELLS, _MOST_POINTS = 200_000, 10_000


@dataclass
class PlannedSuite:
    """The suite that a plan's settings are of. attacks: those that a plugin at hand knows, by id."""

    file: SuiteFile
    attacks: dict[str, Attack] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)  # ids of attacks without a plugin here


def check_plan(run: RunFolder, findings: Findings) -> PlannedSuite | None:
    """Check that a plan says what its settings ask for. None where these are no suite's."""
    plan = run.plan
    try:
        file: SuiteFile = validate(SuiteFile, plan.settings, "plan.json: settings")
    except UsageError as error:
        findings.disagree(str(error))
        return None
    text = json.dumps(plan.settings, sort_keys=True)
    told: dict[str, tuple[Any, Any]] = {
        "identity": (plan.identity, hashlib.sha256(text.encode()).hexdigest()),
        "suite": (plan.suite, file.name),
        "seeds": (plan.seeds, list(file.seeds)),
        "headline": (plan.headline, file.headline),
        "samples": (plan.samples, file.quality.samples),
    }
    if not file.ensemble or file.ensemble in registry.suite_files():  # a stranger's plan reads no file of a user's
        told["ensemble"] = (plan.ensemble, format_ensemble(file))
    for key, (said, follows) in told.items():
        if said != follows:
            findings.disagree(f"plan.json: {key} is {said!r}, and its settings give {follows!r}")
    if len(plan.points) * len(file.seeds) * (1 + 2 * len(file.attack)) > _MOST_CELLS:
        findings.disagree(f"plan.json: asks for more than the {_MOST_CELLS} cells that are read")
        return None
    suite = PlannedSuite(file)
    _build_attacks(suite, findings)
    _check_points(plan, file, findings)
    return suite


def _build_attacks(suite: PlannedSuite, findings: Findings) -> None:
    known = registry.names("attacks")
    for entry in suite.file.attack:
        identity = str(entry.get("id", entry.get("name")))
        if entry.get("name") not in known:
            suite.unknown.add(identity)
            findings.note(
                f"attack {identity}: no plugin of its name here: give it by --plugin; its cells are not known"
            )
            continue
        try:
            kind = registry.find("attacks", str(entry["name"]))
            suite.attacks[identity] = build_plugin(kind, entry, "plan.json: settings")
        except UsageError as error:
            findings.disagree(str(error))


def _check_points(plan: RunPlan, file: SuiteFile, findings: Findings) -> None:
    """Check that the points are those of the settings; where a defense has no plugin here, by their ids alone."""
    known, names = registry.names("defenses"), [str(entry.get("name")) for entry in file.defense]
    if unknown := sorted({*names} - {*known}):
        findings.note(f"defense {unknown[0]}: no plugin of its name here: give it by --plugin; points go by their ids")
        ids = {str(entry.get("id", entry.get("name"))) for entry in file.defense}
        if ids != {point.defense for point in plan.points}:
            findings.disagree("plan.json: points: are not those of the defenses in its settings")
        _check_roles(plan, file, findings)
        return
    if _count_points(file) > _MOST_POINTS:  # before they are made: sweeps multiply
        findings.disagree(f"plan.json: its settings give more than the {_MOST_POINTS} points that are read")
        return
    try:
        follows = {
            spec.label: (spec.id, spec.role, tuple(link.id for link in spec.chain[:-1]))
            for spec in expand_points(file, "plan.json: settings")
        }
    except UsageError as error:
        findings.disagree(str(error))
        return
    said = {point.point: (point.defense, point.role, point.bases) for point in plan.points}
    for label in sorted(said.keys() ^ follows.keys()):
        findings.disagree(f"plan.json: point {label!r}: {'not in its settings' if label in said else 'is left out'}")
    for label in sorted(said.keys() & follows.keys()):
        if said[label] != follows[label]:
            findings.disagree(f"plan.json: point {label!r} is {said[label]}, and its settings give {follows[label]}")


def _check_roles(plan: RunPlan, file: SuiteFile, findings: Findings) -> None:
    """Check the roles of the defenses that are known here: what is a control decides what can be believed."""
    known = [entry for entry in file.defense if entry.get("name") in registry.names("defenses")]
    roles = {
        str(entry.get("id", entry["name"])): entry.get("role", registry.find("defenses", entry["name"]).role)
        for entry in known
    }
    for point in plan.points:
        if point.role != roles.get(point.defense, point.role):
            findings.disagree(
                f"plan.json: point {point.point!r}: its role is {point.role!r}, and its settings give "
                f"{roles[point.defense]!r}"
            )


def _count_points(file: SuiteFile) -> int:
    """The number of points of all defenses, sweeps multiplied along chains of `base`; 0 where these are no chains."""
    entries = {str(entry.get("id", entry.get("name"))): entry for entry in file.defense}
    total = 0
    for entry in file.defense:
        count, here, links = 1, entry, 0
        while True:
            count *= prod(len(value) for value in here.values() if isinstance(value, list))
            links += 1
            if here.get("base") is None:
                break
            if not isinstance(here["base"], str) or here["base"] not in entries or links > len(entries):
                return 0
            here = entries[here["base"]]
        total += count
    return total


def list_cells(plan: RunPlan, suite: PlannedSuite) -> list[Cell]:
    """The cells that a plan asks for: (point, attack, access, seed)."""
    found = []
    for point in plan.points:
        asked = [(QUALITY, Access.SAMPLES.name)]
        for entry in suite.file.attack:
            identity = str(entry.get("id", entry.get("name")))
            on = entry.get("on", point.defense)
            attack = suite.attacks.get(identity)
            if attack is not None and point.defense in ([on] if isinstance(on, str) else on):
                asked += [(identity, level.name) for level in MEASUREMENTS[attack.family].levels(attack)]
        found += [(point.point, attack, access, seed) for attack, access in asked for seed in suite.file.seeds]
    return found


def list_missing_cells(run: RunFolder) -> list[str]:
    """The cells that a run's plan asks for and that have no record, in words, as far as plugins at hand know them."""
    findings = Findings()
    if (suite := check_plan(run, findings)) is not None:
        check_records(run, suite, findings)
    return findings.missing


def check_records(run: RunFolder, suite: PlannedSuite, findings: Findings) -> None:
    """Check that records are of this plan, each cell once, and list the cells that have none."""
    plan = run.plan
    cells = [*(planned := list_cells(plan, suite)), *_list_persons(run, set(planned))]
    files = {path.stem for path in (run.path / "records").glob("*.json")}
    for stem in sorted({record.stem for record in run.records} ^ files):
        findings.disagree(f"records/{stem}.json: its name is not that of the record in it")
    wanted: set[Cell] = set(cells)
    found: set[Cell] = set()
    for record in run.records:
        cell: Cell = (record.point, record.attack, record.access, record.seed)
        if cell not in wanted and record.attack_id not in suite.unknown:
            findings.disagree(f"{_name(record)}: not asked for by the plan")
        found.add(cell)
        _check_record(record, plan, suite, findings)
    controls = {point.point for point in plan.points if point.role == "control"}
    for point, attack, access, seed in cells:
        if (point, attack, access, seed) not in found:
            words = f"{point}, {attack} at {access}, seed {seed}"
            findings.miss(words)
            if access == Access.NONE.name or point in controls:
                findings.disagree(f"{words}: a control, without which nothing can be believed, is missing")


def _list_persons(run: RunFolder, planned: set[Cell]) -> list[Cell]:
    """The cells in which attacks that answered about images are asked about persons too."""
    further = [unit for unit in run.plan.units if unit != "image"]
    return [
        (record.point, f"{record.attack}@{unit}", record.access, record.seed)
        for record in run.records
        if record.family == "membership" and record.metrics
        if (record.point, record.attack, record.access, record.seed) in planned
        for unit in further
    ]


def _check_record(record: Record, plan: RunPlan, suite: PlannedSuite, findings: Findings) -> None:
    points = {point.point: point for point in plan.points}
    told = [("suite", record.suite, plan.suite), ("dataset", record.dataset, plan.dataset)]
    if record.point in points:
        told.append(("defense", record.defense, points[record.point].defense))
        if not points[record.point].given and plan.points[0].chain[:1] == points[record.point].chain[:1]:
            told.append(("model", record.model, plan.model))
    for key, said, follows in told:
        if said != follows:
            findings.disagree(f"{_name(record)}: {key} is {said!r}, and the plan says {follows!r}")
    attack = suite.attacks.get(record.attack_id)
    if attack is not None and (record.family, record.adaptive) != (attack.family, attack.adaptive):
        findings.disagree(f"{_name(record)}: family or adaptive is not that of the attack")
    if attack is not None and record.attack_params != attack.model_dump(mode="json"):
        findings.disagree(f"{_name(record)}: attack_params are not those of the plan")
    entry = next((e for e in suite.file.defense if e.get("id", e.get("name")) == record.defense), {})
    for key in sorted(record.defense_params.keys() & entry.keys()):
        given, used = entry[key], record.defense_params[key]
        if used != given and not (isinstance(given, list) and (used == given or used in given)):
            findings.disagree(f"{_name(record)}: defense_params.{key} is {used!r}, and the plan says {given!r}")


def _name(record: Record) -> str:
    return f"records/{record.stem}.json"

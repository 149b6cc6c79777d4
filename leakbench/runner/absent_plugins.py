"""What a run folder holds of attacks and defenses whose plugins the command was not given.

None of it can be made or judged by its code: it stays in the plan as it was, and a record stays as long as its release,
or what that was trained on, is still the one of the run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.results.run_plan import PlannedPoint, RunPlan
from leakbench.runner.up_to_date import FinishedRecords, Identity
from leakbench.runtime import registry
from leakbench.runtime.cache.key_diff import list_differences
from leakbench.suite.merge import entries_by_id
from leakbench.suite.suite import Suite

Entries = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class AbsentPlugins:
    """attacks, defenses: their entries of the suite, by id. points: those of the defenses. summaries: of attacks. lost:
    the ids of all defenses without a plugin, those that were never measured among them."""

    attacks: Entries = field(default_factory=dict)
    defenses: Entries = field(default_factory=dict)
    points: tuple[PlannedPoint, ...] = ()
    summaries: dict[str, str] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()

    @property
    def bases(self) -> set[str]:
        """The ids of the defenses that the points stand on."""
        return {base for point in self.points for base in point.bases if base not in self.defenses}

    def join(self, suite: Suite) -> Suite:
        """The suite whose file has these entries as well. It builds none of them."""
        if not self.attacks and not self.defenses:
            return suite
        entries = {
            "attack": (*suite.file.attack, *self.attacks.values()),
            "defense": (*suite.file.defense, *self.defenses.values()),
        }
        return replace(suite, file=suite.file.model_copy(update=entries))

    def list_kept(self, finished: FinishedRecords, audits: Collection[ReleaseAudit]) -> dict[Identity, str]:
        """The keys of their records, without those of a release that changed since."""
        releases = {(one.context.point.label, one.context.seed): one.context.release_parts for one in audits}
        trained = {
            (one.context.point.chain[0].id, one.context.seed): one.context.release_parts["fits"][0] for one in audits
        }
        bottoms = {point.name: point.bases[0] for point in self.points if point.bases}
        kept = {}
        for identity, (_, record) in finished.by_identity.items():
            made = record.run.key.get("release")
            if record.defense in self.defenses:
                now = trained.get((bottoms.get(record.point, ""), record.seed))
                same = made is None or now is None or made["fits"][0] == now
            else:
                parts = releases.get((record.point, record.seed))
                same = made is None or (parts is not None and not list_differences(made, parts))
            if same and (record.defense in self.defenses or record.attack_id in self.attacks):
                kept[identity] = record.inputs
        return kept


def find_absent_plugins(
    plan: RunPlan, asked: Suite, points: Collection[str], attacks: Collection[str]
) -> AbsentPlugins:
    """The attacks and defenses of a plan that have no plugin here. points, attacks: those that have records."""
    used = {one for point in plan.points if point.point in points for one in (point.defense, *point.bases)}
    defenses = entries_by_id(plan.settings.get("defense", []))
    lost = _list_lost(defenses, registry.names("defenses")) - entries_by_id(asked.file.defense).keys()
    entries = entries_by_id(plan.settings.get("attack", []))
    known = registry.names("attacks")
    gone = {
        name: entry
        for name, entry in entries.items()
        if name in attacks
        and name not in asked.attacks
        and (entry.get("name") not in known or _all_of(entry.get("on"), lost))
    }
    return AbsentPlugins(
        gone,
        {name: defenses[name] for name in defenses if name in lost & used},
        tuple(point for point in plan.points if point.defense in lost & used),
        {name: summary for name, summary in plan.attacks.items() if name in gone},
        frozenset(lost),
    )


def _list_lost(defenses: Mapping[str, dict[str, Any]], known: Collection[str]) -> set[str]:
    """The ids of the defenses without a plugin, and of those that stand on them."""
    lost = {name for name, entry in defenses.items() if entry.get("name") not in known}
    for _ in defenses:
        lost |= {name for name, entry in defenses.items() if entry.get("base") in lost}
    return lost


def _all_of(on: object, lost: Collection[str]) -> bool:
    names = on if isinstance(on, list) else [on]
    return all(name in lost for name in names)

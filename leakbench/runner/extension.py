"""Adds what a command asks for to the run that its folder holds, or says which settings do not allow that.

Attacks, points and seeds that were measured in the folder stay in its plan and its reports, also where a later command
does not name them; of what an interrupted command never came to, nothing stays. A command makes the cells that it asks
for, and again those records of others that no longer follow from code and data; the rest is left as it is.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedBudget, RunPlan
from leakbench.runner.absent_plugins import AbsentPlugins, find_absent_plugins
from leakbench.runner.up_to_date import SUPERSEDED, FinishedRecords
from leakbench.runtime.errors import UsageError
from leakbench.suite.budget import Budget, Change, EmptyRow
from leakbench.suite.load import build_suite
from leakbench.suite.merge import OtherSettings, entries_by_id, merge_suites
from leakbench.suite.suite import Suite

_SHOWN = 4  # differences


@dataclass(frozen=True)
class Extension:
    """A command on a folder that holds a run.

    suite: all that the folder will hold. asked: the command's own part of it. earlier: the commands that made the rest.
    absent: what the folder holds of plugins that are not at hand. added, replaced, kept: what the folder has not had
    yet, the attacks that get other parameters, and what the command does not ask for, in words; "" for nothing.
    """

    suite: Suite
    asked: Suite
    earlier: tuple[str, ...] = ()
    absent: AbsentPlugins = field(default_factory=AbsentPlugins)
    added: str = ""
    replaced: str = ""
    kept: str = ""

    def list_commands(self, command: str) -> list[str]:
        """The commands that make what the folder will hold, in order, where this one is given now. One that asks for
        all of it stands alone; one that adds nothing is none of them."""
        if self.suite.file == self.asked.file:
            return [command]
        others = [one for one in self.earlier if one != command]
        changes = self.added or self.replaced
        return [*others, command] if changes or not others else list(self.earlier)

    def describe(self, out: Path) -> list[str]:
        """Lines for people; none where the folder holds what the command asks for, and nothing else."""
        lines = [f"adds {self.added} to the run that it holds"] if self.added else []
        lines += [f"replaces {self.replaced}; older records are kept in {SUPERSEDED}/"] if self.replaced else []
        if self.kept:
            lines.append(f"keeps {self.kept} of earlier commands, in reports too (--rerun all would leave them out)")
        return [f"{out}: {line}" for line in lines]


def extend_run(out: Path, asked: Suite, finished: FinishedRecords) -> Extension:
    """The run of a folder with what is asked for. Raises UsageError that names the settings which differ, where the
    folder holds the run of another suite or one with other settings. Writes nothing."""
    if not (out / "plan.json").is_file():
        return Extension(asked, asked)
    plan = RunFolder(out).plan
    if plan.identity == asked.identity:
        return Extension(asked, asked)
    if not finished.by_identity and not finished.damaged:  # nothing was measured
        return Extension(asked, asked)
    if plan.suite != asked.file.name:
        raise UsageError(f"{out}: holds a run of suite {plan.suite!r}, not {asked.file.name!r}; {_remedy(out)}")
    points, attacks = {point for point, *_ in finished.by_identity}, {attack for _, attack, *_ in finished.by_identity}
    absent = find_absent_plugins(plan, asked, points, attacks)
    old = _measured_part(out, plan, finished, absent)
    try:
        merged = merge_suites(old, asked)
    except OtherSettings as error:
        raise UsageError(f"{out}: {_word_differences(plan, asked, error)}; {_remedy(out)}") from None
    return Extension(
        absent.join(replace(merged, budget=merge_budgets(plan.budget, asked.budget, merged))),
        asked,
        earlier=tuple(plan.commands),
        absent=absent,
        added=_word_parts(merged, old, AbsentPlugins()),
        replaced=_word_replaced(old, asked),
        kept=_word_parts(merged, asked, absent),
    )


def _measured_part(out: Path, plan: RunPlan, finished: FinishedRecords, absent: AbsentPlugins) -> Suite:
    """The suite of a folder without the attacks, defenses, values of sweeps and seeds that have no record in it; all of
    it where some record is damaged, and cannot say what it is of. What has no plugin here is left out."""
    where = f"{out / 'plan.json'}: settings"
    points, attacks, seeds = ({identity[i] for identity in finished.by_identity} for i in (0, 1, 3))
    table = dict(plan.settings)
    kept = {
        group: {key: entry for key, entry in entries_by_id(table.get(group, [])).items() if key not in gone}
        for group, gone in (("defense", absent.lost), ("attack", absent.attacks))
    }
    table["defense"] = list(kept["defense"].values())
    left = [restrict_to(set(kept["defense"]), one) for one in kept["attack"].values()]
    # Fewer before they are built: an attack that was never run may have no plugin here.
    table["attack"] = [one for key, one in entries_by_id(left).items() if key in attacks or finished.damaged]
    try:
        whole = build_suite(table, where)
    except UsageError as error:
        raise UsageError(
            f"{out}: what it holds cannot be added to: {error}; if an earlier command had a --plugin, give it again; "
            f"or {_remedy(out)}"
        ) from None
    if finished.damaged:
        return whole
    links = [link for point in whole.points if point.label in points for link in point.chain]
    used = {link.id for link in links} | absent.bases
    if not used:
        raise UsageError(f"{out}: its plan has none of the points that its records are of; {_remedy(out)}")
    table["seeds"] = [seed for seed in whole.file.seeds if seed in seeds] or table["seeds"]
    table["defense"] = [
        entry
        | {
            key: [one for one in value if any(link.id == name and link.parameters.get(key) == one for link in links)]
            or value
            for key, value in entry.items()
            if isinstance(value, list) and name not in absent.bases
        }
        for name, entry in entries_by_id(table["defense"]).items()
        if name in used
    ]
    table["attack"] = [restrict_to(used, entry) for entry in table["attack"]]
    return build_suite(table, where)


def restrict_to(defenses: set[str], entry: dict[str, object]) -> dict[str, object]:
    """The entry of an attack, whose `on` names these defenses alone."""
    on = entry.get("on")
    return entry | {"on": [one for one in on if one in defenses]} if isinstance(on, list) else entry


def merge_budgets(old: PlannedBudget | None, asked: Budget | None, merged: Suite) -> Budget | None:
    """The budget of the command, or that of the folder, with all that either of them changed and the rows that both
    left out."""
    if old is None:
        return asked
    empty = {row.row: EmptyRow(row.row, dict(row.least), row.minutes, row.reason) for row in old.empty}
    changes = {one.path: Change(one.path, one.published, one.used) for one in old.changes}
    budget = asked or Budget(old.minutes, old.factor, old.small, enough=old.enough)
    empty |= {row.row: row for row in budget.empty}
    changes |= {one.path: one for one in budget.changes}
    held = {point.id for point in merged.points}
    left_out = tuple(row for name, row in empty.items() if name not in held)
    return replace(budget, empty=left_out, changes=tuple(changes.values()))


# Words ---------------------------------------------------------------------------------------------------------------


def _word_parts(whole: Suite, part: Suite, more: AbsentPlugins) -> str:
    """The attacks, points and seeds of `whole` that are not in `part`, and `more`: "attack pia, points a, b"; "" for
    none."""
    lacking = {
        "attack": [*_lacking(whole.attacks, list(part.attacks)), *more.attacks],
        "point": [
            *_lacking((p.label for p in whole.points), [p.label for p in part.points]),
            *(p.name for p in more.points),
        ],
        "seed": _lacking(map(str, whole.file.seeds), [*map(str, part.file.seeds)]),
    }
    return ", ".join(f"{kind}{'s' * (len(names) > 1)} {', '.join(names)}" for kind, names in lacking.items() if names)


def _word_replaced(old: Suite, asked: Suite) -> str:
    """The attacks of both that have other parameters now: "attack pia (t: 200 -> 50)"; "" for none."""
    found = []
    for name in [name for name in old.attacks if name in asked.attacks]:
        before, after = (
            {"name": one.name, **one.model_dump(mode="json")} for one in (old.attacks[name], asked.attacks[name])
        )
        changes = [
            f"{key}: {before.get(key)} -> {after.get(key)}"
            for key in dict.fromkeys([*before, *after])
            if before.get(key) != after.get(key)
        ]
        found += [f"attack {name} ({', '.join(changes)})"] if changes else []
    return ", ".join(found)


def _lacking(names: Iterable[str], known: list[str]) -> list[str]:
    return [name for name in names if name not in known]


def _word_differences(plan: RunPlan, asked: Suite, error: OtherSettings) -> str:
    shown = ", ".join(error.differences[:_SHOWN])
    more = len(error.differences) - _SHOWN
    words = f"holds a run of suite {plan.suite!r} with other settings: {shown}" + (
        f" and {more} more" if more > 0 else ""
    )
    minutes = None if plan.budget is None else plan.budget.minutes
    if minutes is not None and (asked.budget is None or asked.budget.minutes != minutes):
        words += f"; it was made with --budget {minutes:g}: give that again to add to it"
    settings = _read_settings(plan.commands[-1]) if plan.commands else ""
    return words + (f"; it was made with {settings}: give that again to add to it" if settings else "")


def _read_settings(command: str) -> str:
    """The --set options of a command, as they were typed."""
    try:
        words = shlex.split(command)
    except ValueError:  # a call of Python
        return ""
    given = [f"--set {shlex.quote(value)}" for option, value in pairwise(words) if option == "--set"]
    return " ".join(given + [shlex.quote(word) for word in words if word.startswith("--set=")])


def _remedy(out: Path) -> str:
    """The ways on: each is the same command with one more option."""
    free = next(path for number in range(2, 10_000) if not (path := out.with_name(f"{out.name}-{number}")).exists())
    return (
        f"give another folder, --out {free} (what was trained is taken from the cache), or --rerun all to replace this "
        f"run (its records are kept in {out / SUPERSEDED})"
    )

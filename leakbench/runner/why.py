"""Tells why the cells of a plan are to be made (again): what differs from what was made before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from leakbench.api import AuxiliaryModel
from leakbench.measurement.keys import Parts, fit_parts, hash_parts, summarise_fits
from leakbench.measurement.record_contents import RecordSpec
from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.results.record import Record
from leakbench.runner.cell import Cell, fit_verb
from leakbench.runner.plan import Plan
from leakbench.runner.up_to_date import identify
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.cache.key_diff import list_differences
from leakbench.runtime.cache.key_file import KEY_FILE, read_key_parts

NEVER = "never made"
OTHER_BASE = "its base changed"
_SHOWN = 3  # differences of a cell
_NAMED = 3  # releases of a group


@dataclass(frozen=True)
class Reason:
    """What is to be made, and the differences from what was made before.

    what: a training, or the release (and seed) that records are of; records: which of them, by attack; "" of trainings.
    """

    what: str
    differences: tuple[str, ...]
    records: str = ""

    @property
    def words(self) -> str:
        """The differences, a few of many."""
        more = len(self.differences) - _SHOWN
        return ", ".join([*self.differences[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])


def format_reasons(reasons: Iterable[Reason]) -> list[str]:
    """A line for each training, and for all releases whose records are to be made again for the same reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in reasons:
        groups.setdefault((one.records, one.words), []).append(one.what)
    return [line for (records, words), those in groups.items() for line in _format_group(records, words, those)]


def _format_group(records: str, words: str, those: list[str]) -> list[str]:
    if not records:
        return [f"{one}: {words}" for one in those]
    if len(those) == 1:
        return [f"{those[0]}, {records}: {words}"]
    more = f" and {len(those) - _NAMED} more" if len(those) > _NAMED else ""
    return [f"{records}, of {len(those)} releases ({'; '.join(those[:_NAMED])}{more}): {words}"]


class Explanation:
    """Reasons for the cells of a plan, by what lies in the cache and in the folder of the run."""

    def __init__(self, plan: Plan, earlier: ArtefactCache | None = None) -> None:
        """earlier: the cache in which earlier trainings are looked for, where that is not the plan's own."""
        self.plan, self.inputs = plan, plan.inputs
        self._trainings = earlier or plan.builder.trainings

    def reasons(self) -> Iterator[Reason]:
        """One reason for each training, and one for all records of a release that have the same."""
        audits = {(audit.context.point.label, audit.context.seed): audit for audit in self.plan.audits}
        for cell in self.plan.cells:
            if cell.kind == "fit":
                yield from (self._explain_fit(cell, model) for model in cell.models)
            elif cell.point is not None:
                yield from self._explain_audit(cell, audits[cell.point.label, cell.seed])

    # Trainings -------------------------------------------------------------------------------------------------------

    def _explain_fit(self, cell: Cell, model: AuxiliaryModel | None) -> Reason:
        parts = fit_parts(self.inputs, cell.chain, cell.seed, model)
        purpose = f" for {model.name}" if model else ""
        what = f"{fit_verb(cell.chain[-1].defense)} {cell.chain[-1].id}, seed {cell.seed}{purpose}"
        old = self._nearest(parts)
        return Reason(what, (NEVER,) if old is None else self._differences_of_fits(old, parts))

    def _differences_of_fits(self, old: Parts, new: Parts) -> tuple[str, ...]:
        if hash_parts(old) == hash_parts(new):
            return ("its files in the cache are damaged",)
        found = list_differences(old | {"base": None}, new | {"base": None})
        return tuple([*found, *([OTHER_BASE] if old.get("base") != new.get("base") else [])])

    @cached_property
    def _trained(self) -> list[Parts]:
        """The parts of the keys of all trainings in the cache of this machine, newest first."""
        files = self._trainings.path("any").parent.glob(f"*/{KEY_FILE}")
        newest = sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)
        return [parts for path in newest if (parts := read_key_parts(path.parent)) is not None]

    def _nearest(self, parts: Parts) -> Parts | None:
        """The training of the same defense, data set and seed, and for the same model, that differs least."""
        alike = ("defense", "dataset", "seed", "auxiliary")
        found = [old for old in self._trained if all(old.get(name) == parts[name] for name in alike)]
        return min(found, key=lambda old: len(list_differences(old, parts)), default=None)

    # Records ---------------------------------------------------------------------------------------------------------

    def _explain_audit(self, cell: Cell, audit: ReleaseAudit) -> Iterator[Reason]:
        grouped: dict[tuple[str, ...], dict[str, list[str]]] = {}
        for spec in cell.records:
            known = self.plan.finished.by_identity.get(identify(audit, spec))
            names = grouped.setdefault((NEVER,) if known is None else self.explain_record(audit, spec, known[1]), {})
            names.setdefault(spec.name, []).append(spec.access.name)
        for differences, names in grouped.items():
            rows = [name if name == "quality" else f"{name} at {' and '.join(names[name])}" for name in names]
            yield Reason(f"{audit.context.point.label}, seed {audit.context.seed}", differences, "; ".join(rows))

    def explain_record(self, audit: ReleaseAudit, spec: RecordSpec, record: Record) -> tuple[str, ...]:
        """The differences between what a record rests on and what it would rest on now."""
        old, new = record.run.key, audit.row_parts(spec)
        if record.inputs == hash_parts(new):
            return ("a score was not finite",) if "non-finite" in record.flags else ("its arrays are damaged or gone",)
        if not old:
            return ("made by an older version, which kept no parts of its key",)
        plain = [{name: value for name, value in parts.items() if name != "release"} for parts in (old, new)]
        releases = self._differences_of_releases(audit, old["release"], new["release"], record.run.trainings)
        found = [*releases, *list_differences(*plain)]
        return tuple({one.partition(" (train ")[0]: one for one in reversed(found)}.values())[::-1]

    def _differences_of_releases(
        self, audit: ReleaseAudit, old: Parts, new: Parts, trainings: Sequence[Parts]
    ) -> list[str]:
        """Of the trainings below a release, by name; then of its release-stage parameters and the sampler. trainings:
        what the record itself says of them, where they are not in the cache."""
        chain, found = audit.context.point.chain, list[str]()
        here = summarise_fits(self.inputs, chain, audit.context.seed) if trainings else []
        for length, (before, after) in enumerate(zip(old["fits"], new["fits"], strict=False), start=1):
            if before != after:
                kept = read_key_parts(self._folder(before))
                parts = fit_parts(self.inputs, chain[:length], audit.context.seed)
                if kept:
                    said = self._differences_of_fits(kept, parts)
                elif length <= min(len(trainings), len(here)):
                    said = self._differences_of_fits(trainings[length - 1], here[length - 1])
                else:
                    said = ("its key is no longer in the cache",)
                found += [f"{one} (train {chain[length - 1].id})" for one in said]
        rest = [{name: value for name, value in parts.items() if name != "fits"} for parts in (old, new)]
        fits = [one for one in found if not one.startswith(OTHER_BASE)] or found
        return [*fits, *list_differences(*rest)]

    def _folder(self, key: str) -> Path:
        return self._trainings.path(key)

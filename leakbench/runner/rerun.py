"""Makes one record of a run again, in a temporary folder, and compares the two.

All that this takes is the record and the plan of its run: the plan holds the suite's settings after --set and --budget,
the record names its release, attack and seed, and says what it rested on.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from leakbench.measurement.compatibility import check_compatibility
from leakbench.measurement.environment import describe_environment
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.record_contents import RecordSpec
from leakbench.measurement.release_audit import ReleaseAudit
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.results.record import QUALITY, Record
from leakbench.results.record_files import read_record
from leakbench.results.run_folder import RunFolder, open_run
from leakbench.runner.executors.local import LocalExecutor
from leakbench.runner.extension import restrict_to
from leakbench.runner.plan import Plan
from leakbench.runner.process import Placement
from leakbench.runner.progress import Display
from leakbench.runner.record_comparison import ComparedNumber, compare_records
from leakbench.runner.up_to_date import identify
from leakbench.runner.why import Explanation
from leakbench.runtime.cache.artefacts import ArtefactCache
from leakbench.runtime.cache.key_diff import list_differences
from leakbench.runtime.cache.location import cache_root, shared_url
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import build_suite
from leakbench.suite.merge import entries_by_id
from leakbench.suite.suite import Suite


class NotMade(Exception):
    """The record could not be made again. The message says in a line what failed."""


@dataclass(frozen=True)
class RecordRerun:
    """A record that was made again.

    changed: what is not as it was, in words: code, versions, device. numbers: all of both. seconds: that it took.
    """

    record: Record
    changed: tuple[str, ...]
    numbers: tuple[ComparedNumber, ...]
    seconds: float

    @property
    def agrees(self) -> bool:
        """True if no number differs by more than its tolerance."""
        return all(one.outcome != "differs" for one in self.numbers)

    def count(self, outcome: str) -> int:
        """The number of numbers with an outcome."""
        return sum(one.outcome == outcome for one in self.numbers)


class RerunPlan:
    """One record that is to be made again: checked, planned, and compared with what it rested on. Trains nothing yet.

    - path: a file of the folder records/ of a run.
    - placement: device and workers.
    - cached: take trainings and samples from the cache where they are the same; else all is made anew.
    - overrides: of the suite, as `--set` takes them: where the data lie on this machine.

    Raises UsageError for what is no record of a run, for a plugin that is not at hand, and where the data set is not
    the one that the record was made of.
    """

    def __init__(
        self, path: Path, scratch: Path, placement: Placement, cached: bool = False, overrides: tuple[str, ...] = ()
    ) -> None:
        if not path.is_file():
            raise UsageError(f"{path}: no such file; records are the .json files under DIR/records")
        self.record, self.placement = read_record(path), placement
        suite = _narrow(open_run(path.resolve().parent.parent), self.record, overrides)
        images = bool(self.record.run.key.get("images", True))
        cache, url = (cache_root(), shared_url()) if cached else (scratch / "cache", "")
        config = RunConfig(scratch / "run", cache, placement.device, images, url=url)
        inputs = RunInputs(suite, config)
        self.plan = Plan(ReleaseBuilder(inputs), only=self.record.attack_id)
        self._check_data(path, inputs)
        check_compatibility(inputs)
        self._audit, self._spec = self._find_row(path)
        self.changed = tuple(self._list_changes(inputs))

    def make(self) -> RecordRerun:
        """Train what it takes, make the record, and compare. Raises NotMade where its cell failed."""
        began = time.perf_counter()
        with Display(self.plan.cells) as display:
            executor = LocalExecutor(self.plan, self.placement.workers, display.update)
            executor.run()
        made = self.plan.out / "records" / f"{self.record.stem}.json"
        if not made.is_file():
            raise NotMade("; ".join(executor.failures.values()) or "no such record was made")
        numbers = compare_records(self.record, read_record(made))
        return RecordRerun(self.record, self.changed, tuple(numbers), time.perf_counter() - began)

    def _check_data(self, path: Path, inputs: RunInputs) -> None:
        told = next(iter(self.record.run.trainings), {})
        if told and told.get("data") != inputs.data_key["data"]:
            raise UsageError(
                f"{path}: cannot be made again here: the data set {self.record.dataset!r} does not hold what it held; "
                "--set dataset=... says where the right one lies"
            )

    def _find_row(self, path: Path) -> tuple[ReleaseAudit, RecordSpec]:
        record = self.record
        wanted = (record.point, record.attack, record.access, record.seed)
        for audit in self.plan.audits:
            for spec in audit.rows():
                if identify(audit, spec) == wanted:
                    return audit, spec
        raise UsageError(f"{path}: the plan of its run asks for no such record")

    def _list_changes(self, inputs: RunInputs) -> Sequence[str]:
        """What the record rests on that is not the same here, then versions and device that are not."""
        record, found = self.record, list[str]()
        if record.inputs != self._audit.row_key(self._spec):
            explanation = Explanation(self.plan, ArtefactCache(cache_root(), "fits", shared_url()))
            found += explanation.explain_record(self._audit, self._spec, record)
        here = describe_environment(inputs.device)
        for there in (record.run.environment.auditor, record.run.environment.trainer):
            found += list_differences(there, here) if there else []
        return list(dict.fromkeys(found))


@contextmanager
def open_rerun(
    path: Path, placement: Placement, cached: bool = False, overrides: tuple[str, ...] = ()
) -> Iterator[RerunPlan]:
    """A record that is to be made again, in a temporary folder that goes when the context ends. Raises UsageError."""
    with tempfile.TemporaryDirectory(prefix="leakbench-rerun-", ignore_cleanup_errors=True) as scratch:
        yield RerunPlan(path, Path(scratch), placement, cached, overrides)


def _narrow(run: RunFolder, record: Record, overrides: tuple[str, ...]) -> Suite:
    """The suite of a run with no other release, attack and seed than the record's. Raises UsageError."""
    where = f"{run.path / 'plan.json'}: settings"
    table = dict(run.plan.settings)
    defenses = entries_by_id(table.get("defense") or [])
    chain, link = list[str](), record.defense
    while link in defenses and link not in chain:
        chain.append(link)
        link = str(defenses[link].get("base", ""))
    attacks = entries_by_id(table.get("attack") or [])
    if record.defense not in defenses or record.attack_id not in (*attacks, QUALITY):
        raise UsageError(f"{where}: have no {record.defense!r}, or no {record.attack!r}, which the record is of")
    table["defense"] = [entry for name, entry in defenses.items() if name in chain]
    table["attack"] = [restrict_to(set(chain), attacks[record.attack_id])] if record.attack_id in attacks else []
    table |= {"seeds": [record.seed], "small": {}, "published": []}
    suite = build_suite(table, where, overrides)
    points = tuple(point for point in suite.points if point.label == record.point)
    if not points:
        raise UsageError(f"{where}: have no point {record.point!r}, which the record is of")
    return replace(suite, points=points)

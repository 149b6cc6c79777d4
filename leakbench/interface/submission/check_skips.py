"""Attacks that a submission says did not apply: they are asked again, nothing is trained, and must say the same.

Without this, whoever left the strongest attacks out would need nothing but the flag `not-applicable`.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from leakbench.api import as_pretrained
from leakbench.data.dataset import DUPLICATE_SHARE
from leakbench.interface.submission.check_plan import PlannedSuite
from leakbench.interface.submission.check_split import PUBLIC, no_network
from leakbench.interface.submission.findings import Findings
from leakbench.measurement.compatibility import audit_setting, skip_attack
from leakbench.measurement.inputs import RunInputs
from leakbench.results.flags import Flag
from leakbench.results.record import Record
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.errors import UsageError
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import build_suite

_MISSING_HERE = {Flag.LPIPS_MISSING, Flag.SSCD_MISSING}  # said of the submitter's machine


class SkipCheck:
    """Checks the records without numbers of one submission."""

    def __init__(self, suite: PlannedSuite, findings: Findings) -> None:
        self.suite, self.findings = suite, findings

    @cached_property
    def _inputs(self) -> RunInputs | None:
        """The run's data and split; None, with a note, where a stranger's plan would read a user's files, or asks for
        what is not here."""
        file = self.suite.file
        try:
            if file.dataset.partition(":")[0] not in PUBLIC or file.split.file:
                raise UsageError("its images, or its list of them, are a user's own")
            if file.split.duplicate_radius > DUPLICATE_SHARE:
                raise UsageError("its duplicate_radius is larger than usual")
            suite = build_suite(file.model_dump(mode="json", exclude={"ensemble"}), "plan.json: settings")
            if any(as_pretrained(link.defense) is not None for point in suite.points for link in point.chain):
                raise UsageError("its model was handed in")
            inputs = RunInputs(suite, RunConfig(Path(), cache_root(), url=""))
            with no_network():
                _ = inputs.split
            return inputs
        except UsageError as error:
            self.findings.note(f"not asked again whether attacks apply that were not run: {error}")
            return None

    def check(self, record: Record) -> None:
        """Check a record that says that its attack does not apply."""
        told = str(record.info.get("skipped", "without a reason"))
        self.findings.note(f"not run: {record.attack} at {record.point}: {told}")
        attack = self.suite.attacks.get(record.attack_id)
        if attack is None or _MISSING_HERE & {*record.flags} or self._inputs is None:
            return
        chains = [point.chain for point in self._inputs.suite.points if point.label == record.point]
        skips = [skip_attack(attack, audit_setting(self._inputs, chain)) for chain in chains]
        if any(skip is None or skip.severity != "not-applicable" for skip in skips):
            self.findings.disagree(f"records/{record.stem}.json: says that {record.attack} does not apply, and it does")

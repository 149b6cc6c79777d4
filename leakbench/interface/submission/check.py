"""`leakbench.check_submission`: everything that can be checked of a packed run without trusting who packed it.

That numbers follow from raw arrays does not show that an attack gave these arrays: whoever makes up scores that agree
with themselves is not found here. Running the suite again does that, or a counter-evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from leakbench.interface.options import PathName
from leakbench.interface.submission.check_files import check_hashes, check_names
from leakbench.interface.submission.check_numbers import check_numbers
from leakbench.interface.submission.check_plan import check_plan, check_records
from leakbench.interface.submission.findings import Findings, printable
from leakbench.interface.submission.manifest import MANIFEST, Manifest, read_manifest
from leakbench.interface.submission.unpack import unpacked
from leakbench.reports.reading.void import list_void_reasons
from leakbench.results.run_digest import digest_run
from leakbench.results.run_folder import RunFolder
from leakbench.results.verified import CheckedSubmission, Status, VerifiedFile, read_verified, write_verified
from leakbench.runtime.errors import UsageError
from leakbench.runtime.paths import user_path
from leakbench.suite.ensemble import name_frozen


@dataclass(frozen=True)
class SubmissionCheck:
    """What a check of a submission found.

    - digest: that of the run, by which leaderboards know it. manifest: as it was packed. records: their number.
    - status: "agrees", "disagrees", or "void": it agrees, and no membership result of it says anything.
    - ensemble: the frozen suite or ensemble that it answers whole, "board-digits-1"; "" if none.
    - void: the reasons, in words. findings: one line each of what does not agree, is missing, or was not checked.
    """

    digest: str
    manifest: Manifest
    records: int
    ensemble: str
    void: tuple[str, ...]
    findings: Findings

    @property
    def status(self) -> Status:
        """The outcome in a word."""
        if self.findings.disagreements:
            return "disagrees"
        return "void" if self.void else "agrees"

    def to_entry(self) -> CheckedSubmission:
        """The entry of a file of checked submissions, as of now, without counter-evaluations."""
        return CheckedSubmission(
            digest=self.digest,
            status=self.status,
            ensemble=self.ensemble,
            missing=tuple(self.findings.missing),
            disagreements=tuple(self.findings.disagreements),
            leakbench=version("leakbench"),
            checked=datetime.now(UTC).replace(microsecond=0),
        )


def check_submission(path: PathName, record: PathName | None = None) -> SubmissionCheck:
    """Check a packed run: hashes, schema, split, seeds, cells, and every number that its raw arrays give again.

    - path: a file that `leakbench.submit` wrote, or the folder that it unpacks to.
    - record: a file of checked submissions (leakbench.results.verified), to which what is found is added.

    Nothing of the submission is run, unpickled, or written outside a temporary folder. Raises UsageError, in one line,
    for what is no packed run.
    """
    source = user_path(path)
    kept = None if record is None else user_path(record)
    file = read_verified(kept) if kept is not None and kept.exists() else VerifiedFile()
    with unpacked(source) as folder:
        found = check_folder(folder, source)
    if kept is not None:
        entry, before = found.to_entry(), file.find(found.digest)
        counters = () if before is None else before.counters
        write_verified(kept, file.with_entry(entry.model_copy(update={"counters": counters})))
    return found


def check_folder(folder: Path, source: Path) -> SubmissionCheck:
    """Check an unpacked run. `source`: where it came from, for errors. Raises UsageError."""
    try:
        return _check(folder)
    except UsageError as error:
        raise UsageError(printable(str(error).replace(str(folder), str(source)))) from None


def _check(folder: Path) -> SubmissionCheck:
    manifest = read_manifest((folder / MANIFEST).read_bytes(), str(folder / MANIFEST))
    run, findings = RunFolder(folder), Findings()
    check_hashes(folder, manifest, findings)
    if findings.disagreements:  # it was changed after it was packed: nothing in it is what was submitted
        records = len(list((folder / "records").glob("*.json")))
        return SubmissionCheck(digest_run(folder), manifest, records, "", (), findings)
    check_names(manifest, run.plan, findings)
    suite = check_plan(run, findings)
    if suite is None:  # its records say what they say of no suite
        return SubmissionCheck(digest_run(folder), manifest, 0, "", (), findings)
    ensemble, changes = name_frozen(suite.file)
    for change in changes:
        findings.note(f"not the frozen suite {suite.file.name}: {change}")
    if not run.records:
        findings.disagree("it has no records")
    check_records(run, suite, findings)
    check_numbers(run, suite, findings)
    void = () if findings.disagreements else tuple(reason.words for reason in list_void_reasons(run))
    if findings.disagreements and manifest.leakbench != version("leakbench"):
        findings.note(
            f"packed by leakbench {manifest.leakbench}, read by {version('leakbench')}: these may count differently"
        )
    return SubmissionCheck(digest_run(folder), manifest, len(run.records), ensemble, void, findings)

"""The files of a submission against its manifest."""

from __future__ import annotations

from pathlib import Path

from leakbench.interface.submission.findings import Findings
from leakbench.interface.submission.manifest import MANIFEST, Manifest
from leakbench.results.run_digest import digest_hashes, hash_run_files
from leakbench.results.run_plan import RunPlan


def check_hashes(folder: Path, manifest: Manifest, findings: Findings) -> None:
    """Check the hash of every file, and that the manifest names each."""
    hashes = hash_run_files(folder)
    for name in sorted(manifest.files.keys() | hashes.keys()):
        if name not in hashes:
            findings.disagree(f"{name}: in {MANIFEST}, and not there")
        elif name not in manifest.files:
            findings.disagree(f"{name}: not in {MANIFEST}")
        elif hashes[name] != manifest.files[name]:
            findings.disagree(f"{name}: its sha256 is not that of {MANIFEST}")
    if manifest.digest != digest_hashes(manifest.files):
        findings.disagree(f"{MANIFEST}: digest: is not that of its files")


def check_names(manifest: Manifest, plan: RunPlan, findings: Findings) -> None:
    """Check that the manifest is of this plan's run."""
    for key, told, planned in (
        ("suite", manifest.suite, plan.suite),
        ("suite_digest", manifest.suite_digest, plan.identity),
    ):
        if told != planned:
            findings.disagree(f"{MANIFEST}: {key} is {told!r}, and plan.json says {planned!r}")

"""One run on a leaderboard: what makes its numbers comparable with those of other runs, and the pages it has."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from leakbench.results.run_digest import digest_run
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from ...reading.distances import distance_name
from ...reading.formatting import rate_title
from ...sections.setting import describe_setting
from ..slugs import make_slug


@dataclass(frozen=True)
class Ensemble:
    """The attacks that were asked for: the name of a frozen set with its version, or of the suite, and a digest of
    their parameters, by which two sets of one name are told apart."""

    name: str
    digest: str
    count: int

    @property
    def title(self) -> str:
        """The set in a line."""
        return f"{self.name} ({self.count} attack{'' if self.count == 1 else 's'}, {self.digest[:8]})"


@dataclass(frozen=True)
class Setting:
    """What two runs have to share before their rows may share a table, but for the access level."""

    dataset: str
    model: str
    ensemble: Ensemble
    sizes: str


@dataclass(frozen=True)
class Submitted:
    """A run with its digest, which tells it from all others, and its setting."""

    run: RunFolder
    digest: str
    setting: Setting

    @property
    def label(self) -> str:
        """The suite, and the beginning of the digest."""
        return f"{self.run.plan.suite or 'run'} {self.digest[:8]}"

    def page_of(self, point: PlannedPoint) -> str:
        """The file name of the page about the defense of a point."""
        return f"defense-{make_slug(point.defense or point.name, self.digest, point.defense or point.name)}.html"


def read_submitted(run: RunFolder) -> Submitted:
    """Read what a board needs to know of a run as a whole."""
    facts = describe_setting(run)
    setting = Setting(
        " / ".join(facts["datasets"]) or run.plan.dataset or "unknown",
        " / ".join(facts["models"]) or run.plan.model or "unknown",
        _read_ensemble(run),
        _describe_sizes(run),
    )
    return Submitted(run, digest_run(run.path), setting)


def _read_ensemble(run: RunFolder) -> Ensemble:
    asked = {"attacks": sorted(run.plan.attacks), "entries": run.plan.settings.get("attack", [])}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return Ensemble(run.plan.ensemble or "not frozen", digest, len(run.plan.attacks))


def _describe_sizes(run: RunFolder) -> str:
    """The numbers of images and samples that distances and rates rest on."""
    split = {part: run.plan.split.get(part) for part in ("member", "nonmember")}
    parts = [f"{count} {part}s" for part, count in split.items() if isinstance(count, int)]
    if run.plan.samples is not None:
        parts.append(f"{run.plan.samples} samples")
    return ", ".join([*parts, distance_name(run), rate_title(run.plan.headline)])

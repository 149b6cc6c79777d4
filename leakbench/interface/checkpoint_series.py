"""The checkpoints of one training run audited in turn: leakage and copying against training steps, one curve."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from leakbench.interface.results import Results
from leakbench.models.pretrained.layouts.training_run import step_of
from leakbench.results.metric_specs import COPY_EXCESS
from leakbench.results.run_folder import RunFolder
from leakbench.runtime.errors import UsageError
from leakbench.runtime.paths import user_path
from leakbench.statistics import Estimate
from leakbench.suite.audit_request.suite import GIVEN

AUC = "oriented_auc"
NAME = "checkpoints"


class Row(NamedTuple):
    """A metric of an attack at a training step, with its interval of 95 %."""

    step: int
    attack: str
    metric: str
    estimate: Estimate


def find_checkpoints(pattern: str) -> dict[int, Path]:
    """Checkpoint folders by training step, in its order. Raises UsageError for a pattern that finds fewer than two, and
    for names that do not say their step."""
    paths = [Path(one) for one in glob.glob(str(user_path(pattern)))]
    if strange := sorted(str(path) for path in paths if step_of(path) is None or not path.is_dir()):
        raise UsageError(f"--checkpoints {pattern}: {strange[0]}: it should be a folder of the name checkpoint-STEP")
    found = {step: path for path in paths if (step := step_of(path)) is not None}
    if len(found) < len(paths):
        raise UsageError(f"--checkpoints {pattern}: two folders of one step; give those of one run")
    if len(found) < 2:
        raise UsageError(
            f"--checkpoints {pattern}: {len(found)} checkpoints, and a curve needs two (quote the pattern)"
        )
    return dict(sorted(found.items()))


@dataclass
class CheckpointSeries:
    """Audits of checkpoints, each in OUT/step-000500 as `leakbench.audit` writes it, so that what is finished is read
    and not done again. out: the folder above them. options: those of `leakbench.audit`, all but `model` and `out`."""

    checkpoints: dict[int, Path]
    out: Path
    options: dict[str, Any]
    results: dict[int, Results] = field(default_factory=dict)

    def check(self) -> None:
        """Prepare every audit before the first runs. Raises UsageError for a checkpoint that cannot be audited."""
        from leakbench.interface.audit import prepare_audit

        for step, path in self.checkpoints.items():
            prepare_audit(path, out=self.folder(step), **self.options)

    def folder(self, step: int) -> Path:
        """Where the audit of a step lies."""
        return self.out / f"step-{step:06d}"

    def run(self) -> Iterator[int]:
        """Audit one checkpoint after the other, and hand out its step when it is done. Raises as `audit` does."""
        from leakbench.interface.audit import audit

        for step, path in self.checkpoints.items():
            self.results[step] = audit(path, out=self.folder(step), **self.options)
            yield step

    def list_rows(self) -> list[Row]:
        """Leakage (oriented AUC, above 1/2 where members were told from nonmembers) of each attack on membership, and
        copies beyond the null of each on copying, by step."""
        return read_rows(self.results)

    def list_void(self) -> list[str]:
        """Why members and nonmembers differ by themselves, so that leakage means nothing; empty where they do not."""
        return list(dict.fromkeys(reason for results in self.results.values() for reason in results.void))

    def write(self) -> list[Path]:
        """Write the table and the figure, OUT/checkpoints.csv and .png, .pdf; answers them, none of no rows."""
        from leakbench.reports.figures.training import save_series
        from leakbench.reports.figures.values import write_values

        rows = self.list_rows()
        if not rows:
            return []
        table = write_values(self.out / f"{NAME}.csv", map(_values, rows))
        panels: dict[str, dict[str, list[tuple[int, Estimate]]]] = {AUC: {}, COPY_EXCESS: {}}
        for row in rows:
            panels[row.metric].setdefault(row.attack, []).append((row.step, row.estimate))
        return [table, *save_series(panels[AUC], panels[COPY_EXCESS], bool(self.list_void()), self.out, NAME)]


def read_rows(audits: Mapping[int, Results]) -> list[Row]:
    """What audits by training step say of the model: an AUC of each attack on membership, copies of each on copying."""
    found = []
    for step, results in sorted(audits.items()):
        records = [one for one in RunFolder(results.path).records if one.metrics and one.point == GIVEN]
        wanted = {"membership": AUC, "replication": COPY_EXCESS}
        asked = dict.fromkeys((one.attack, wanted[one.family]) for one in records if one.family in wanted)
        found += [Row(step, attack, metric, results.metric(GIVEN, attack, metric)) for attack, metric in asked]
    return found


def _values(row: Row) -> dict[str, object]:
    numbers = {name: round(getattr(row.estimate, name), 6) for name in ("value", "low", "high")}
    return {"step": row.step, "attack": row.attack, "metric": row.metric, **numbers}


def format_table(rows: list[Row]) -> list[str]:
    """Lines of a table: an attack a line, a training step a column, values without their intervals. One line that says
    so where nothing was measured."""
    if not rows:
        return ["no attack on membership or copying was run that applies to this model: there is no curve"]
    steps = list(dict.fromkeys(row.step for row in rows))
    titles = {AUC: "AUC", COPY_EXCESS: "copies"}
    cells = {(row.attack, row.metric, row.step): f"{row.estimate.value:.3f}" for row in rows}
    lines = dict.fromkeys((row.metric, row.attack) for row in sorted(rows, key=lambda row: row.metric == COPY_EXCESS))
    width = max(len(attack) for _, attack in lines)
    head = f"{'step':<{width + 8}}" + "".join(f"{step:>9}" for step in steps)
    body = []
    for metric, attack in lines:
        values = "".join(f"{cells.get((attack, metric, step), '-'):>9}" for step in steps)
        body.append(f"{attack:<{width}}  {titles[metric]:<6}{values}")
    return [head, *body]

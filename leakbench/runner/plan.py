"""The plan of a run: its cells, what each waits for, and which are already done.

Three kinds of cells: `fit` trains one link of a chain, `reader` trains the embedding of the split, `audit` makes all
missing records of one release. A cell's number in the run is fixed by the suite, not by the machine.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Literal

from leakbench.api import AuxiliaryModel
from leakbench.measurement.auxiliary import auxiliary_chain
from leakbench.measurement.compatibility import audit_setting, inapplicable
from leakbench.measurement.embedding import FeatureExtractor
from leakbench.measurement.keys import fit_key
from leakbench.measurement.release_audit import RecordSpec, ReleaseAudit, needs_of
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.results.records import Record, RunFolder, read_record
from leakbench.runtime.cache.keys import key_of
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import write_atomically
from leakbench.suite.load import ChainLink, ReleaseSpec, ensemble_of

Rerun = Literal["missing", "failed", "all"]

_TOGETHER = 16  # shadow models in one batched pass
_TOGETHER_BYTES = 2**32  # of their images


@dataclass(frozen=True)
class Cell:
    """One unit of work. `after`: names of the cells that must be done first. `needs`: what a fit trains its last link
    for, None being the target itself."""

    name: str
    kind: Literal["fit", "reader", "audit"]
    words: str
    after: tuple[str, ...] = ()
    chain: tuple[ChainLink, ...] = ()
    point: ReleaseSpec | None = None
    seed: int = 0
    needs: tuple[AuxiliaryModel | None, ...] = ()
    rows: tuple[RecordSpec, ...] = ()


class Plan:
    """The cells of a suite, in an order that respects what each waits for."""

    def __init__(self, builder: ReleaseBuilder, rerun: Rerun = "missing") -> None:
        self.builder, self.inputs, self.rerun = builder, builder.inputs, rerun
        self.out = self.inputs.config.out
        self.embedding = FeatureExtractor(builder.inputs)

    @cached_property
    def failures(self) -> dict[str, str]:
        """Cells that failed last time, with their errors."""
        path = self.out / "failures.json"
        return dict(json.loads(path.read_text())) if path.is_file() else {}

    @cached_property
    def cells(self) -> list[Cell]:
        """What is left to do: audits with missing records, and the training that those need."""
        audits = [
            cell for point in self.inputs.suite.points for seed in self._seeds if (cell := self._audit(point, seed))
        ]
        fits: dict[str, Cell] = {}
        for cell in audits:
            assert cell.point is not None
            self._fits(cell.point.chain, cell.seed, None, fits)
            for need in self._needs(cell.point, cell.rows):
                self._fits(auxiliary_chain(need, cell.point.chain), cell.seed, need, fits)
        reader = [Cell("reader", "reader", "embedding of the reference images")] if audits else []
        return [*reader, *self._together(list(fits.values()), audits)]

    def _together(self, fits: list[Cell], audits: list[Cell]) -> list[Cell]:
        """The cells, where shadow models of one recipe and seed are joined into cells that train them together."""
        alike: dict[tuple[bool, str], list[Cell]] = {}
        for cell in fits:
            shadow = any(need is not None and need.kind == "shadow" for need in cell.needs)
            recipe = fit_key(self.inputs, cell.chain, cell.seed) if shadow else cell.name
            alike.setdefault((shadow, recipe), []).append(cell)
        most = self._most_together()
        groups = [cells[i : i + most] for cells in alike.values() for i in range(0, len(cells), most)]
        joined = [_joined(group) for group in groups]
        names = {cell.name: whole.name for group, whole in zip(groups, joined, strict=True) for cell in group}
        after = [dict.fromkeys(names.get(name, name) for name in cell.after) for cell in audits]
        return [*joined, *(replace(cell, after=tuple(those)) for cell, those in zip(audits, after, strict=True))]

    def _most_together(self) -> int:
        """How many shadow models a cell trains: one on the CPU, where each core has its own; on a CUDA device as many
        as hold it, with their images, at once."""
        if self.inputs.device.type != "cuda":
            return 1
        size = 4 * prod(self.inputs.data.shape) * len(self.inputs.pool)
        return max(1, min(_TOGETHER, _TOGETHER_BYTES // size))

    @property
    def _seeds(self) -> tuple[int, ...]:
        return self.inputs.suite.file.seeds

    def _needs(self, point: ReleaseSpec, rows: tuple[RecordSpec, ...]) -> list[AuxiliaryModel]:
        """Releases that the attacks of these rows need, each once."""
        attacks, place = self.inputs.suite.attacks, audit_setting(self.inputs, point.chain)
        asked = [attacks[row.attack] for row in rows if row.attack in attacks]
        return needs_of(tuple(attack for attack in asked if not inapplicable(attack, place)))

    def _audit(self, point: ReleaseSpec, seed: int) -> Cell | None:
        audit = ReleaseAudit(self.builder, self.embedding, point, seed)
        name = f"audit {point.label} seed {seed}"
        if self.rerun == "failed" and name not in self.failures:
            return None
        rows = tuple(row for row in audit.rows() if self.rerun == "all" or not self._done(audit, row))
        if not rows:
            return None
        fits = [fit_key(self.inputs, point.chain[: i + 1], seed) for i in range(len(point.chain))]
        for need in self._needs(point, rows):
            fits.append(fit_key(self.inputs, auxiliary_chain(need, point.chain), seed, need))
        return Cell(
            name, "audit", f"{point.label}, seed {seed}", ("reader", *fits), point.chain, point, seed, rows=rows
        )

    def _fits(
        self, chain: tuple[ChainLink, ...], seed: int, need: AuxiliaryModel | None, fits: dict[str, Cell]
    ) -> None:
        for length in range(1, len(chain) + 1):
            key = fit_key(self.inputs, chain[:length], seed, need)
            below = (fit_key(self.inputs, chain[: length - 1], seed, need),) if length > 1 else ()
            whose = f" for {need.name}" if need else ""
            words = f"train {chain[length - 1].id}, seed {seed}{whose}"
            if self.rerun == "all" or not self.builder.trainings.whole(key):
                fits.setdefault(key, Cell(key, "fit", words, below, chain[:length], None, seed, (need,)))

    def _done(self, audit: ReleaseAudit, row: RecordSpec) -> bool:
        """Whether a whole record of this very row is there: same inputs, arrays that match their hash."""
        record = self._found.get((audit.point.label, row.attack, row.access.name, audit.seed))
        return (
            record is not None
            and record.inputs == audit.row_key(row)
            and "non-finite" not in record.flags  # a failed cell is tried again, and fails again
            and self._whole(record)
        )

    @cached_property
    def _found(self) -> dict[tuple[str, str, str, int], Record]:
        found: dict[tuple[str, str, str, int], Record] = {}
        for path in (self.out / "records").glob("*.json"):
            try:
                record = read_record(path)
            except UsageError:
                print(f"leakbench: damaged record {path}; making it again", file=sys.stderr)
                continue
            found[record.point, record.attack, record.access, record.seed] = record
        return found

    def _whole(self, record: Record) -> bool:
        if not record.arrays:
            return True
        path = self.out / "arrays" / f"{record.stem}.npz"
        whole = path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == record.arrays
        if not whole:
            print(f"leakbench: damaged or missing arrays {path}; making them again", file=sys.stderr)
        return whole

    # The run folder ---------------------------------------------------------------------------------------------------

    def check_folder(self) -> None:
        """Raise UsageError if the folder holds another plan's run."""
        path = self.out / "plan.json"
        if not path.is_file():
            return
        try:
            old = json.loads(path.read_text())
        except ValueError:
            raise UsageError(f"{path}: not a plan; choose another folder with --out") from None
        if old.get("suite") != self.inputs.suite.file.name:
            raise UsageError(
                f"{self.out}: holds a run of suite {old.get('suite')!r}, not {self.inputs.suite.file.name!r}; choose "
                "another folder with --out"
            )
        if old.get("identity") != self.inputs.suite.identity:
            raise UsageError(
                f"{self.out}: holds a run of suite {self.inputs.suite.file.name!r} with other settings; choose another "
                "folder with --out, or repeat the --set and --budget of that run"
            )

    def describe(self, command: str) -> dict[str, Any]:
        """What plan.json says."""
        suite, split = self.inputs.suite, self.inputs.split
        return {
            "suite": suite.file.name,
            "summary": suite.file.summary,
            "ensemble": ensemble_of(suite.file),
            "identity": suite.identity,
            "command": command,
            "dataset": self.inputs.data.name,
            "model": self.inputs.model,
            "headline": suite.file.headline,
            "seeds": list(suite.file.seeds),
            "samples": suite.file.quality.samples,
            "features": suite.file.quality.features,
            "split": {name: len(rows) for name, rows in split.parts.items()}
            | {"near_duplicates_removed": split.removed}
            | ({"index_file": split.file} if split.file else {})
            | ({"files_that_do_not_decode": len(skipped)} if (skipped := self.inputs.data.skipped) else {}),
            "points": [
                {
                    "point": p.label,
                    "defense": p.id,
                    "role": p.role,
                    "chain": [link.defense.name for link in p.chain],
                    "bases": [link.id for link in p.chain[:-1]],
                    "condition": self.inputs.condition(p.chain),
                    "given": p.chain[0].defense.given,
                }
                for p in suite.points
            ],
            "attacks": {name: type(attack).summary for name, attack in suite.attacks.items()},
            "budget": suite.budget and asdict(suite.budget),
            "published": [row.model_dump(mode="json") for row in suite.file.published],
            "settings": suite.file.model_dump(mode="json"),
        }

    def forget(self) -> None:
        """For `--rerun all`: drop what training and sampling made for this plan's releases."""
        for cell in self.cells:
            for need in cell.needs:
                key = fit_key(self.inputs, cell.chain, cell.seed, need)
                self.builder.trainings.drop(key)
                shutil.rmtree(self.builder.checkpoints(key), ignore_errors=True)
            if cell.point is not None:
                audit = ReleaseAudit(self.builder, self.embedding, cell.point, cell.seed)
                audit.samples_store.drop(audit.samples_key)

    def write(self, command: str) -> None:
        """Write plan.json, and delete records that an older version of the code or of a plugin left.

        What is about to be made again from other inputs goes as well: if that fails, no old number stands in its place.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        for record in self._stale():
            (self.out / "records" / f"{record.stem}.json").unlink(missing_ok=True)
            (self.out / "arrays" / f"{record.stem}.npz").unlink(missing_ok=True)
        text = json.dumps(self.describe(command), indent=1) + "\n"
        write_atomically(self.out / "plan.json", text.encode())

    def _stale(self) -> list[Record]:
        audits = [
            ReleaseAudit(self.builder, self.embedding, p, seed)
            for p in self.inputs.suite.points
            for seed in self._seeds
        ]
        keys = {(a.point.label, r.attack, r.access.name, a.seed): a.row_key(r) for a in audits for r in a.rows()}
        remade = {(c.point.label, r.attack, r.access.name, c.seed) for c in self.cells if c.point for r in c.rows}
        return [
            record
            for key, record in self._found.items()
            if key not in keys or (key in remade and record.inputs != keys[key])
        ]

    def folder(self) -> RunFolder:
        """The run on disk."""
        return RunFolder(self.out)


def folder_of(out: str | None, suite: str) -> Path:
    """--out, or runs/SUITE."""
    return Path(out) if out else Path("runs") / suite


def _joined(cells: list[Cell]) -> Cell:
    """One cell that does what these do; itself if it is one."""
    if len(cells) == 1:
        return cells[0]
    needs = tuple(need for cell in cells for need in cell.needs)
    words = f"{cells[0].words} and {len(cells) - 1} more"
    return replace(cells[0], name=key_of(together=[cell.name for cell in cells]), words=words, needs=needs)

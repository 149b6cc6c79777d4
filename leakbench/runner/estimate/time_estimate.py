"""How long and how large a plan will be: what network calls cost on this machine, times the calls that it makes.

The calls are counted, not guessed: a defense says what its training evaluates and what its guidance adds to a call
(`Defense.cost`); membership attacks, and those on the attribute, are rehearsed on a network
that counts. The networks that judge samples are timed alike (leakbench.runner.estimate.metric_cost,
leakbench.measurement.extra_features). What is no network call (distances, figures, the training of the embedding)
stands as a few flat seconds. Choices of ours: the seconds that are flat, the calls of attacks on unlearning, and that
attacks which ask the denoiser are asked twice where a defense changes the answers.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field, replace

from leakbench.api import Access, AttributeAttack, MembershipAttack, ReplicationAttack, UnlearningAttack
from leakbench.measurement.compatibility import audit_setting
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.release_audit import RecordSpec
from leakbench.models import networks
from leakbench.results.record import QUALITY
from leakbench.runner.cell import Cell
from leakbench.runner.estimate.dry_run import calls_of, calls_of_attribute
from leakbench.runner.estimate.extra_features_cost import seconds_extra_features
from leakbench.runner.estimate.metric_cost import embedded, pairs_of, seconds_embedding, seconds_lpips
from leakbench.runner.estimate.timing import StepTimes, pace_of

_STARTING = 8.0  # seconds until a worker has imported torch
_READING = 30.0  # seconds of the reader
_AUDITING = 6.0  # seconds of an audit beside its network calls
_ATTACK = 1.0  # seconds of an attack beside its network calls
_REPORTING = 10.0  # seconds of tables and figures
_UNLEARNING = 64.0  # calls a reported image of an attack on unlearning and of its null
_RECORDS = 20_000  # bytes of a release's records and arrays, at the least


@dataclass
class TimeEstimate:
    """What the cells of a suite take. One estimate serves versions of a suite that differ in steps and samples: pass
    each version's inputs.
    """

    _paces: dict[str, StepTimes] = field(default_factory=dict)
    _calls: dict[tuple[object, ...], float] = field(default_factory=dict)
    _beside: float | None = None
    _embedding: dict[str, float] = field(default_factory=dict)
    _lpips: float | None = None

    def seconds(self, inputs: RunInputs, cells: list[Cell], workers: int) -> float:
        """Seconds until all cells are done, by so many workers that start them in their order."""
        if not cells:
            return 0.0
        ends: dict[str, float] = {}
        free = [_STARTING + inputs.split_seconds + self._real(inputs, cells)] * min(workers, len(cells))
        for cell in cells:
            start = max([heapq.heappop(free), *(ends[name] for name in cell.depends_on)])
            ends[cell.name] = start + self.of(inputs, cell)
            heapq.heappush(free, ends[cell.name])
        return max(ends.values()) + _REPORTING

    def of(self, inputs: RunInputs, cell: Cell) -> float:
        """Seconds of one cell."""
        if cell.kind == "reader":
            return _READING
        pace = self.pace(inputs, inputs.condition(cell.chain))
        if cell.kind == "fit":
            defense = cell.chain[-1].defense
            return defense.cost().plain_training * len(cell.models) * pace.training / 3
        judged = self._judging(inputs) if any(row.attack == QUALITY for row in cell.records) else 0.0
        calls = self._audit(inputs, cell) * pace.forward
        return calls + judged + _AUDITING + _ATTACK * len({row.attack for row in cell.records})

    def _judging(self, inputs: RunInputs) -> float:
        """Seconds of the networks that judge the samples of one release."""
        samples = inputs.suite.file.quality.samples
        ours = embedded(samples) * self.embedding(inputs) + pairs_of(samples) * self.lpips(inputs)
        return ours + samples * self.beside(inputs)

    def _real(self, inputs: RunInputs, cells: list[Cell]) -> float:
        """Seconds in which a worker that audits embeds the real images."""
        if not any(cell.kind == "audit" for cell in cells):
            return 0.0
        parts = [len(inputs.split.train), len(inputs.heldout_rows), len(inputs.split.parts["reference"])]
        return sum(parts) * self.beside(inputs) + sum(map(embedded, parts)) * self.embedding(inputs)

    def embedding(self, inputs: RunInputs) -> float:
        """Seconds an image of the suite's own features; measured once for each."""
        name = inputs.suite.file.quality.features
        if name not in self._embedding:
            self._embedding[name] = seconds_embedding(inputs)
        return self._embedding[name]

    def lpips(self, inputs: RunInputs) -> float:
        """Seconds a pair of images; measured once."""
        if self._lpips is None:
            self._lpips = seconds_lpips(inputs)
        return self._lpips

    def beside(self, inputs: RunInputs) -> float:
        """Seconds an image of the networks that join quality records; measured once."""
        if self._beside is None:
            self._beside = seconds_extra_features(inputs)
        return self._beside

    def pace(self, inputs: RunInputs, condition: str) -> StepTimes:
        """Measured once for each condition."""
        if condition not in self._paces:
            self._paces[condition] = pace_of(inputs, condition)
        return self._paces[condition]

    def _audit(self, inputs: RunInputs, cell: Cell) -> float:
        """Network calls of an audit: samples, and attacked images in whole compute batches."""
        file, parts = inputs.suite.file, inputs.split.parts
        guided = 1.0 + sum(link.defense.cost().extra_per_step for link in cell.chain)
        samples = _whole(file.quality.samples, file.sampler.batch) * file.sampler.steps * guided
        if file.forget and file.forget.label is not None and inputs.condition(cell.chain) == "label":
            samples *= 1.5  # further samples of the label that is to be forgotten
        images = _whole(sum(len(rows) for name, rows in parts.items() if name != "reference"), file.sampler.batch)
        changed = any(link.defense.changes == "sampling" for link in cell.chain)
        answers, weights = (self._membership(inputs, cell, raw) for raw in (False, True))
        others = sum(self._other(inputs, cell, row, guided) for row in cell.records)
        return samples + others + images * (answers * (guided + 1.0 if changed else 1.0) + weights)

    def _other(self, inputs: RunInputs, cell: Cell, row: RecordSpec, guided: float) -> float:
        """Calls of one row of another family."""
        attack, file, parts = inputs.suite.attacks.get(row.attack), inputs.suite.file, inputs.split.parts
        if not isinstance(attack, AttributeAttack | UnlearningAttack | ReplicationAttack):
            return 0.0
        if attack.skip(audit_setting(inputs, cell.chain)) is not None:
            return 0.0
        calls = 1.0 if row.access is Access.WEIGHTS else guided
        walks = _whole(file.quality.samples, file.sampler.batch) * file.sampler.steps * calls
        reported = sum(_whole(len(parts[name]), file.sampler.batch) for name in ("member", "nonmember"))
        if isinstance(attack, UnlearningAttack):
            return reported * _UNLEARNING * calls
        if isinstance(attack, ReplicationAttack):
            return 2 * walks if attack.generates else 0.0
        if attack.of == "pairs":
            return 2 * walks
        if attack.of == "samples":
            return 0.0
        if (key := (repr(attack),)) not in self._calls:
            self._calls[key] = calls_of_attribute(attack, inputs.data.shape, inputs.schedule)
        return reported * self._calls[key] * calls

    def _membership(self, inputs: RunInputs, cell: Cell, weights: bool) -> float:
        """Calls an image of the membership attacks that hold the weights, or of those that do not."""
        # Those that read a shipped part are not counted: the network of the dry run ships none.
        setting, known = replace(audit_setting(inputs, cell.chain), parts=frozenset()), inputs.suite.attacks
        names = sorted({row.attack for row in cell.records if row.attack in known})
        attacks = [
            attack
            for attack in map(known.__getitem__, names)
            if isinstance(attack, MembershipAttack)
            and attack.skip(setting) is None
            and (attack.access is Access.WEIGHTS) == weights
        ]
        spec = inputs.network(inputs.condition(cell.chain))
        key = (*map(repr, attacks), spec.conditions)
        if key not in self._calls:
            self._calls[key] = calls_of(attacks, spec.shape, spec.conditions, inputs.schedule)
        return self._calls[key]


def _whole(images: int, batch: int) -> int:
    """Images with what fills up the last compute batch."""
    return math.ceil(images / batch) * batch


def bytes_of(inputs: RunInputs, cells: list[Cell]) -> float:
    """Bytes that the cells will write: weights, samples, records."""
    pixels = math.prod(inputs.data.shape)
    weights = 4 * sum(
        p.numel() for p in networks.build(inputs.network("none"), inputs.streams(0).of("estimate")).parameters()
    )
    fits, audits = sum(len(cell.models) for cell in cells), sum(cell.kind == "audit" for cell in cells)
    return float(fits * weights + audits * (_RECORDS + 4 * pixels * inputs.suite.file.quality.samples))

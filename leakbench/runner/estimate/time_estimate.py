"""Estimates the seconds and bytes of a plan: the cost of a unit on this machine, times the number that cells take.

Units are timed (leakbench.runner.estimate.timing). Their numbers are counted, not guessed: a defense says what its
training evaluates and what its guidance adds to a call (`Defense.cost`), attacks are rehearsed on a network that counts
(leakbench.runner.estimate.dry_run). What is no network call (distances, figures, the training of features) stands as a
few flat seconds. Choices of ours: the seconds that are flat, and that attacks which ask the denoiser are asked twice
where a defense changes the answers.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import replace
from typing import cast

from leakbench.api import Access, AttributeAttack, MembershipAttack
from leakbench.measurement.compatibility import audit_setting
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.record_contents import RecordSpec
from leakbench.metrics.features import ROWS
from leakbench.metrics.weights.perceptual import PAIRS
from leakbench.models import networks
from leakbench.results.record import QUALITY
from leakbench.runner.cell import Cell
from leakbench.runner.estimate.dry_run import count_attribute_calls, count_membership_calls
from leakbench.runner.estimate.family_calls import CALLS, AuditSize
from leakbench.runner.estimate.timing import UnitTimes

_STARTING = 8.0  # seconds until a worker has imported torch
_READING = 30.0  # seconds of the reader
_AUDITING = 6.0  # seconds of an audit beside its network calls
_ATTACK = 1.0  # seconds of an attack beside its network calls
_REPORTING = 10.0  # seconds of tables and figures
_RECORDS = 20_000  # bytes of a release's records and arrays, at the least


class TimeEstimate:
    """Seconds of the cells of a suite. What is timed and counted serves all versions of the suite that differ in steps
    and samples: pass each version's inputs."""

    def __init__(self, inputs: RunInputs) -> None:
        self.times = UnitTimes(inputs)
        self._calls: dict[tuple[object, ...], float] = {}

    def seconds(self, inputs: RunInputs, cells: list[Cell], workers: int) -> float:
        """Seconds until all cells are done, by so many workers that start them in their order."""
        if not cells:
            return 0.0
        ends: dict[str, float] = {}
        free = [_STARTING + inputs.split_seconds + self._real_images(inputs, cells)] * min(workers, len(cells))
        for cell in cells:
            start = max([heapq.heappop(free), *(ends[name] for name in cell.depends_on)])
            ends[cell.name] = start + self.estimate_cell(inputs, cell)
            heapq.heappush(free, ends[cell.name])
        return max(ends.values()) + _REPORTING

    def estimate_cell(self, inputs: RunInputs, cell: Cell) -> float:
        """Seconds of one cell."""
        if cell.kind == "reader":
            return _READING
        step = self.times.network(inputs.condition(cell.chain))
        if cell.kind == "fit":
            return cell.chain[-1].defense.cost().plain_training * len(cell.models) * step.training / 3
        attacks = {spec.attack for spec in cell.records}
        quality = self._samples(inputs.suite.file.quality.samples) if QUALITY in attacks else 0.0
        return self._network_calls(inputs, cell) * step.forward + quality + _AUDITING + _ATTACK * len(attacks)

    def _samples(self, count: int) -> float:
        """Seconds of the networks that measure the quality of so many samples."""
        times = self.times
        pairs = count_lpips_pairs(count)
        return fill_batches(count, ROWS) * times.features + pairs * times.lpips + count * times.extra_features

    def _real_images(self, inputs: RunInputs, cells: list[Cell]) -> float:
        """Seconds in which a worker that audits computes the features of real images, which it does once."""
        if not any(cell.kind == "audit" for cell in cells):
            return 0.0
        parts = [len(inputs.split.train), len(inputs.heldout_rows), len(inputs.split.parts["reference"])]
        filled = sum(fill_batches(part, ROWS) for part in parts)
        return filled * self.times.features + sum(parts) * self.times.extra_features

    def _network_calls(self, inputs: RunInputs, cell: Cell) -> float:
        """Network calls of an audit: samples, and attacked images in whole compute batches."""
        file, parts = inputs.suite.file, inputs.split.parts
        guided = 1.0 + sum(link.defense.cost().extra_per_step for link in cell.chain)
        samples = fill_batches(file.quality.samples, file.sampler.batch) * file.sampler.steps * guided
        if file.forget and file.forget.label is not None and inputs.condition(cell.chain) == "label":
            samples *= 1.5  # further samples of the label that is to be forgotten
        images = fill_batches(sum(len(rows) for name, rows in parts.items() if name != "reference"), file.sampler.batch)
        changed = any(link.defense.changes == "sampling" for link in cell.chain)
        answers, weights = (self._membership_calls(inputs, cell, raw) for raw in (False, True))
        others = sum(self._other_calls(inputs, cell, spec, guided) for spec in cell.records)
        return samples + others + images * (answers * (guided + 1.0 if changed else 1.0) + weights)

    def _other_calls(self, inputs: RunInputs, cell: Cell, spec: RecordSpec, guided: float) -> float:
        """Calls of one record, but those that membership attacks share."""
        attack, file, parts = inputs.suite.attacks.get(spec.attack), inputs.suite.file, inputs.split.parts
        if attack is None or attack.skip(audit_setting(inputs, cell.chain)) is not None:
            return 0.0
        calls = 1.0 if spec.access is Access.WEIGHTS else guided
        walks = fill_batches(file.quality.samples, file.sampler.batch) * file.sampler.steps * calls
        reported = sum(fill_batches(len(parts[name]), file.sampler.batch) for name in ("member", "nonmember"))

        def count(attack: AttributeAttack) -> float:
            if (key := (repr(attack),)) not in self._calls:
                self._calls[key] = count_attribute_calls(attack, inputs.data.shape, inputs.schedule)
            return self._calls[key]

        return CALLS[attack.family](attack, AuditSize(calls, walks, reported, count))

    def _membership_calls(self, inputs: RunInputs, cell: Cell, weights: bool) -> float:
        """Calls an image of the membership attacks that hold the weights, or of those that do not."""
        # Those that read a shipped part are not counted: the network of the dry run ships none.
        setting, known = replace(audit_setting(inputs, cell.chain), parts=frozenset()), inputs.suite.attacks
        names = sorted({spec.attack for spec in cell.records if spec.attack in known})
        attacks = [
            cast(MembershipAttack, attack)
            for attack in map(known.__getitem__, names)
            if attack.family == "membership"
            and attack.skip(setting) is None
            and (attack.access is Access.WEIGHTS) == weights
        ]
        spec = inputs.network(inputs.condition(cell.chain))
        key = (*map(repr, attacks), spec.conditions)
        if key not in self._calls:
            self._calls[key] = count_membership_calls(attacks, spec.shape, spec.conditions, inputs.schedule)
        return self._calls[key]


def fill_batches(images: int, batch: int) -> int:
    """Images with what fills up the last compute batch."""
    return math.ceil(images / batch) * batch


def count_lpips_pairs(samples: int) -> int:
    """Pairs that LPIPS is asked about: each sample beside its nearest training image, and pairs of samples."""
    return samples + min(PAIRS, samples // 2)


def estimate_bytes(inputs: RunInputs, cells: list[Cell]) -> float:
    """Bytes that the cells will write: weights, samples, records."""
    network = networks.build(inputs.network("none"), inputs.streams(0).of("estimate"))
    weights = 4 * sum(parameter.numel() for parameter in network.parameters())
    fits, audits = sum(len(cell.models) for cell in cells), sum(cell.kind == "audit" for cell in cells)
    samples = 4 * math.prod(inputs.data.shape) * inputs.suite.file.quality.samples
    return float(fits * weights + audits * (_RECORDS + samples))

"""Estimates the seconds and bytes of a plan: the cost of a unit on this machine, times the number that cells take.

Units are timed (leakbench.runner.estimate.timing) or follow from counts (count_times). Their numbers are counted, not
guessed: a defense says what its training evaluates and what its guidance adds to a call (`Defense.cost`), attacks are
rehearsed on a network that counts (dry_run), and all questions fill whole compute batches. What is no network call
stands as a few flat seconds. Choices of ours: the seconds that are flat, and that attacks which ask the denoiser are
asked twice where a defense changes the answers.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, cast

from leakbench.api import Access, Attack, MembershipAttack, RecoveryAttack, ReplicationAttack, as_pretrained
from leakbench.measurement.compatibility import audit_setting, skip_attack
from leakbench.measurement.record_contents import RecordSpec
from leakbench.metrics.sizes import PAIRS, ROWS
from leakbench.models.network_spec import NetworkSpec
from leakbench.models.schedule import Schedule
from leakbench.models.work import count_spec_weights
from leakbench.results.record import QUALITY
from leakbench.runner.cell import Cell, fit_verb
from leakbench.runner.estimate.attack_calls import AttackCalls, count_fitting, count_scored
from leakbench.runner.estimate.family_calls import CALLS, AuditSize
from leakbench.runner.estimate.unit_times import StepTimes, Times
from leakbench.runtime.batch_sizes import filled_rows

if TYPE_CHECKING:
    from leakbench.measurement.inputs import RunInputs

_STARTING = 3.0  # seconds until a worker has imported torch
_READING = 0.5  # seconds of the reader beside its steps
_READER_IMAGES = 300 * 64  # that the classifier of reference images is trained on (models.classifiers)
_UTILITY_IMAGES = 1000 * 64  # that utility's classifier is trained on (metrics.utility)
_AUDITING = 0.6  # seconds of an audit beside its network calls
_ATTACK = 0.05  # seconds of an attack beside its network calls
_REPORTING = 5.0  # seconds of tables and figures
_RECORDS = 20_000  # bytes of a release's records and arrays, at the least


class Calls(Protocol):
    """Counts the network calls of attacks, for an image."""

    def membership(
        self, attacks: list[MembershipAttack], spec: NetworkSpec, schedule: Schedule
    ) -> tuple[float, list[AttackCalls]]:
        """Calls of an image that all of them score together at one level, and the calls of each alone."""

    def own(self, attack: Any, shape: tuple[int, int, int], schedule: Schedule) -> float:
        """Calls of an image that is asked for its attribute, or of a prompt."""

    def recovery(self, attack: Any, shape: tuple[int, int, int], schedule: Schedule) -> float:
        """Calls of an image that is to be got back."""


class TimeEstimate:
    """Seconds of the cells of a suite. What is timed and counted serves all versions of the suite that differ in steps
    and samples: pass each version's inputs. Without `times` and `calls` both are found by torch, here and now."""

    def __init__(self, inputs: RunInputs, times: Times | None = None, calls: Calls | None = None) -> None:
        if times is None:
            from leakbench.runner.estimate.timing import UnitTimes

            times = UnitTimes(inputs)
        if calls is None:
            from leakbench.runner.estimate.dry_run import DryRun

            calls = DryRun()
        self.times, self.calls = times, calls
        self._fitting: dict[tuple[object, ...], tuple[float, list[AttackCalls]]] = {}
        self._alone: dict[str, float] = {}

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
            return _READING + 3 * _READER_IMAGES * self.times.reader
        step = self._step(inputs, cell)
        if cell.kind == "fit":
            return cell.chain[-1].defense.cost().plain_training * len(cell.models) * step.training / 3
        attacks = {spec.attack for spec in cell.records}
        quality = self._quality(inputs, cell) if QUALITY in attacks else 0.0
        network, fitting = self._network_calls(inputs, cell)
        searching = sum(self._search(inputs, spec) for spec in cell.records)
        return network * step.forward + fitting + searching + quality + _AUDITING + _ATTACK * len(attacks)

    def _step(self, inputs: RunInputs, cell: Cell) -> StepTimes:
        """Step times of a chain's network: of a given model as its files tell."""
        model = as_pretrained(cell.chain[0].defense)
        work = model.work() if model is not None else None
        return self.times.network(inputs.condition(cell.chain)) if work is None else self.times.given(work)

    def _quality(self, inputs: RunInputs, cell: Cell) -> float:
        """Seconds of the networks that measure the quality of samples, or learn from them."""
        times, count = self.times, inputs.suite.file.quality.samples
        pairs = count_lpips_pairs(count)
        learning = "utility" in inputs.suite.file.quality.measures and inputs.condition(cell.chain) == "label"
        utility = 3 * _UTILITY_IMAGES * times.classifier if learning else 0.0
        return filled_rows(count, ROWS) * times.features + pairs * times.lpips + count * times.extra_features + utility

    def _search(self, inputs: RunInputs, spec: RecordSpec) -> float:
        """Seconds in which an attack looks for samples, and for held-out images, among the training images."""
        attack, parts = inputs.suite.attacks.get(spec.attack), inputs.split.parts
        if not isinstance(attack, ReplicationAttack) or isinstance(attack, RecoveryAttack):
            return 0.0
        drawn = inputs.suite.file.quality.samples * (2 if attack.generates else 1)
        queries = drawn + len(parts["reference"]) + len(parts["nonmember"])
        return queries * len(inputs.split.train) * attack.compared_numbers(inputs.data.shape) * self.times.product

    def _real_images(self, inputs: RunInputs, cells: list[Cell]) -> float:
        """Seconds in which a worker that audits computes the features of real images, which it does once."""
        if not any(cell.kind == "audit" for cell in cells):
            return 0.0
        parts = [len(inputs.split.train), len(inputs.heldout_rows), len(inputs.split.parts["reference"])]
        filled = sum(filled_rows(part, ROWS) for part in parts)
        return filled * self.times.features + sum(parts) * self.times.extra_features

    def _network_calls(self, inputs: RunInputs, cell: Cell) -> tuple[float, float]:
        """Network calls of an audit: samples and attacked images, with what fills their compute batches. And seconds in
        which attacks that learn are fitted, beside their calls."""
        file, batch = inputs.suite.file, inputs.suite.file.sampler.batch
        guided = 1.0 + sum(link.defense.cost().extra_per_step for link in cell.chain)
        samples = filled_rows(file.quality.samples, batch) * file.sampler.steps * guided
        if file.forget and file.forget.label is not None and inputs.condition(cell.chain) == "label":
            samples *= 1.5  # further samples of the label that is to be forgotten
        changed = any(link.defense.changes == "sampling" for link in cell.chain)
        parts = {name: len(rows) for name, rows in inputs.split.parts.items()}
        parts["others"] = sum(map(len, inputs.split.held_back.values()))
        if file.generated_control:
            parts["generated"] = min(file.quality.samples, parts["member"])
        attacked = seconds = 0.0
        for weights in (False, True):
            scoring, alone = self._membership_calls(inputs, cell, weights)
            calls = count_scored(parts, batch) * scoring + sum(count_fitting(one, parts, batch) for one in alone)
            attacked += calls * (guided + 1.0 if changed and not weights else 1.0)
            seconds += sum(one.fitting_seconds for one in alone) * (2 if changed and not weights else 1)
        return samples + attacked + sum(self._other_calls(inputs, cell, spec, guided) for spec in cell.records), seconds

    def _other_calls(self, inputs: RunInputs, cell: Cell, spec: RecordSpec, guided: float) -> float:
        """Calls of one record, but those that membership attacks share."""
        attack, file, parts = inputs.suite.attacks.get(spec.attack), inputs.suite.file, inputs.split.parts
        if attack is None or attack.skip(audit_setting(inputs, cell.chain)) is not None:
            return 0.0
        calls = 1.0 if spec.access is Access.WEIGHTS else guided
        walks = filled_rows(file.quality.samples, file.sampler.batch) * file.sampler.steps * calls
        reported = sum(filled_rows(len(parts[name]), file.sampler.batch) for name in ("member", "nonmember"))

        few = min(len(parts["reference"]), len(parts["nonmember"]))

        def count(attack: Attack) -> float:
            if (key := repr(attack)) not in self._alone:
                ask = self.calls.recovery if isinstance(attack, RecoveryAttack) else self.calls.own
                self._alone[key] = ask(attack, inputs.data.shape, inputs.schedule)
            return self._alone[key]

        size = AuditSize(calls, walks, reported, reported + filled_rows(few, file.sampler.batch), count, count)
        return CALLS[attack.family](attack, size)

    def _membership_calls(self, inputs: RunInputs, cell: Cell, weights: bool) -> tuple[float, list[AttackCalls]]:
        """Calls of the membership attacks that hold the weights, or of those that do not."""
        # Those that read a shipped part are not counted: the network of the dry run ships none.
        setting, known = replace(audit_setting(inputs, cell.chain), parts=frozenset()), inputs.suite.attacks
        names = sorted({spec.attack for spec in cell.records if spec.attack in known})
        attacks = [
            cast(MembershipAttack, attack)
            for attack in map(known.__getitem__, names)
            if attack.family == "membership"
            and skip_attack(attack, setting) is None
            and (attack.access is Access.WEIGHTS) == weights
        ]
        spec = inputs.network(inputs.condition(cell.chain))
        key = (*map(repr, attacks), spec.conditions)
        if key not in self._fitting:
            self._fitting[key] = self.calls.membership(attacks, spec, inputs.schedule)
        return self._fitting[key]


def count_lpips_pairs(samples: int) -> int:
    """Pairs that LPIPS is asked about: each sample beside its nearest training image, and pairs of samples."""
    return samples + min(PAIRS, samples // 2)


def estimate_bytes(inputs: RunInputs, cells: list[Cell]) -> float:
    """Bytes that the cells will write: weights, samples, records. A given model is not written again."""
    weights = 4 * count_spec_weights(inputs.network("none"))
    fits = sum(len(cell.models) for cell in cells if cell.chain and fit_verb(cell.chain[-1].defense) != "load")
    audits = sum(cell.kind == "audit" for cell in cells)
    samples = 4 * math.prod(inputs.data.shape) * inputs.suite.file.quality.samples
    return float(fits * weights + audits * (_RECORDS + samples))

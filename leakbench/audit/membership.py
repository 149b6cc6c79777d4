"""The membership attacks against one release, together, sharing its network calls."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import numpy as np
import torch

from leakbench import evaluate
from leakbench.api import Access, Attack, MembershipAttack, Need
from leakbench.audit.subject import Measured, Row, Subject
from leakbench.scoring import Asked, Images, Target, collect, rows_written

Attacks = dict[str, tuple[MembershipAttack, list[Access]]]  # by id: the attack, and the access levels asked for


def measure_membership(subject: Subject, attacks: Attacks) -> Iterator[tuple[Row, Measured]]:
    """Every attack at every level that is asked for."""
    began = time.perf_counter()
    asked: dict[str, Asked] = {}
    written: list[tuple[Row, str]] = []
    for name, (attack, levels) in attacks.items():
        for access, raw in rows_written(attack, subject.release.answers_raw).items():
            if access in levels:
                asked[f"{name}/{raw}"] = Asked(attack, raw)
                written.append((Row(name, access), f"{name}/{raw}"))
    evidence, queries = collect(_target(subject, attacks), asked, _attacked(subject))
    split = subject.bench.split.parts
    calibration = len(split["calibration_in"]) + len(split["calibration_out"])
    timings = {"membership_attacks_together": time.perf_counter() - began}
    masks = _forgotten(subject)
    for row, question in written:
        attack = attacks[row.attack][0]
        found = evaluate.membership(evidence[question], blind=row.access is Access.NONE)
        if masks:
            forget = evaluate.forgotten(evidence[question], **masks, orientation=found.info["orientation"])
            found = found.joined(forget)
        found.info["labels_consumed"] = calibration if attack.learns else 0
        found.info["shadow_models"] = len(attack.needs())
        arrays = dataclasses.asdict(evidence[question]) | masks
        yield row, Measured("membership", found, arrays, timings, queries=queries[question])


def needs_of(attacks: tuple[Attack, ...]) -> list[Need]:
    """Every release that some attack needs, each once, by name."""
    needs: dict[str, Need] = {}
    for attack in attacks:
        for need in attack.needs():
            if needs.setdefault(need.name, need) != need:
                raise ValueError(f"two attacks need different releases under the name {need.name!r}")
    return list(needs.values())


def _forgotten(subject: Subject) -> dict[str, np.ndarray]:
    """Which members were to be forgotten, and which nonmembers they are compared with: the same class's, or all."""
    bench, table = subject.bench, subject.bench.suite.file.forget
    if bench.forgotten is None or table is None:
        return {}
    member, nonmember = bench.split.parts["member"], bench.split.parts["nonmember"]
    alike = np.ones(len(nonmember), dtype=bool)
    if table.label is not None:
        assert bench.data.labels is not None
        alike = bench.data.labels[nonmember] == table.label
    return {"member_forgotten": np.isin(member, bench.forgotten), "nonmember_alike": alike}


def _attacked(subject: Subject) -> dict[str, Images]:
    bench, device = subject.bench, subject.bench.device
    labels = bench.conditions(subject.condition)
    return {
        name: Images(
            bench.images(rows).to(device),
            torch.from_numpy(rows).to(device),
            None if labels is None else torch.from_numpy(labels[rows]).to(device),
        )
        for name, rows in bench.split.parts.items()
        if name != "reference"
    }


def _target(subject: Subject, attacks: Attacks) -> Target:
    bench, others = subject.bench, {}
    for need in needs_of(tuple(attack for attack, _ in attacks.values())):
        other = bench.released(subject.point.chain[:1], subject.seed, need)
        others[need.name] = (other.eps, bench.training_rows(need, subject.seed))
    samples = subject.samples if any(a.access >= Access.SAMPLES for a, _ in attacks.values()) else torch.empty(0)
    return Target(subject.release, samples, bench.streams(subject.seed), others)

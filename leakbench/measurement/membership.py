"""Measures the membership attacks on one release together, sharing its network calls."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leakbench.api import Access, MembershipAttack, MembershipEvidence, Release
from leakbench.data.image_batch import Images
from leakbench.data.image_view import ImageView
from leakbench.data.split import Split
from leakbench.data.split_groups import Unit, list_units
from leakbench.measurement.access_levels import rows_written
from leakbench.measurement.audit_context import AuditContext
from leakbench.measurement.membership_evidence import collect_membership_evidence
from leakbench.measurement.query_engine import AttackRequest, CallCount
from leakbench.measurement.record_contents import RecordContents, RecordSpec
from leakbench.metrics.evaluate import membership, persons
from leakbench.models.diffusion import full_timesteps
from leakbench.statistics import weaker_with_more_access

Attacks = dict[str, tuple[MembershipAttack, list[Access]]]  # by id: the attack, and the access levels asked for


def measure_membership(context: AuditContext, attacks: Attacks) -> Iterator[tuple[RecordSpec, RecordContents]]:
    """Measure every attack at every level that is asked for."""
    began = time.perf_counter()
    asked: dict[str, AttackRequest] = {}
    written: list[tuple[RecordSpec, str]] = []
    for name, (attack, levels) in attacks.items():
        for access, raw in rows_written(attack, context.release.eps_is_raw).items():
            asked[f"{name}/{raw}"] = AttackRequest(attack, raw)  # both, whichever is missing: the flags compare them
            if access in levels:
                written.append((RecordSpec(name, access), f"{name}/{raw}"))
    target = context.target(attack for attack, _ in attacks.values())
    split = context.inputs.split
    parts = {name: context.images(rows) for name, rows in split.parts.items()}
    held_back = {name: context.images(rows) for name, rows in split.held_back.items()}
    if context.inputs.suite.file.generated_control:
        parts["generated"] = _own_samples(context, len(parts["member"].ids))
    calls = CallCount()
    scores, queries = collect_membership_evidence(
        target,
        asked,
        parts,
        calls,
        held_back=held_back,
        calibration_groups=_groups_of(split, ("calibration_in", "calibration_out")),
        reported_groups=_groups_of(split, ("member", "nonmember")),
    )
    groups: dict[str, Any] = _groups(context)
    evidence = {name: dataclasses.replace(one, **groups) for name, one in scores.items()}
    units = list_units(split)
    timings = {"membership_attacks_together": time.perf_counter() - began}
    if context.release.device.type == "cpu":  # elsewhere a call returns before it is done
        timings["membership_network_calls"] = calls.seconds
    shared = calls.facts
    forgotten = _forget_masks(context)
    asks = any(Access.API <= row.access <= Access.DENOISER for row, _ in written)
    random = asks and context.release.answers_eps and randomised(context.release, parts["member"])
    described = _describe_reported(context)
    for row, question in written:
        attack = attacks[row.attack][0]
        found = evidence[question]
        metrics = membership.evaluate_record(found, row.access is Access.NONE, forgotten, attack.sets)
        if random and Access.API <= row.access <= Access.DENOISER and not attack.averages_answers:
            metrics.flags.add("randomised-answers")
        if row.access is Access.WEIGHTS and is_weaker_with_weights(
            evidence.get(f"{row.attack}/False"), evidence.get(f"{row.attack}/True")
        ):
            metrics.flags.add("weaker-with-more-access")
        if _has_unguarded_shadows(context, attack, row.access):
            metrics.flags.add("unguarded-shadows")
        if context.inputs.overlap is not None and len(context.inputs.overlap.nonmember):
            metrics.flags.add("overlapping-sides")
        metrics.info |= _count_consumed(attack, parts)
        arrays = found.arrays | (forgotten.arrays if forgotten else {}) | described
        yield row, RecordContents(metrics, arrays, timings, queries=queries[question], calls=shared)
        for unit in units[1:]:
            ours, way = _of_persons(found, unit, split)
            metrics = membership.evaluate_record(ours, False, None, attack.sets)
            metrics.info |= {"joined_by": way} | _count_consumed(attack, parts)
            row_of_persons = RecordSpec(row.attack, row.access, unit)
            yield row_of_persons, RecordContents(metrics, ours.arrays, timings, queries=queries[question], calls=shared)


def _groups_of(split: Split, parts: tuple[str, str]) -> np.ndarray | None:
    group, rows = split.group, [split.parts[part] for part in parts]
    return None if group is None else group[np.concatenate(rows)]


def _of_persons(evidence: MembershipEvidence, unit: Unit, split: Split) -> tuple[MembershipEvidence, str]:
    if unit == "person":
        return persons.score_persons(evidence)
    group, scores = split.group, evidence.other_scores or _known_scores(evidence, split)
    assert group is not None
    return persons.score_identities(
        evidence, {part: (scores[part], group[rows]) for part, rows in split.others.items()}
    )


def _known_scores(evidence: MembershipEvidence, split: Split) -> dict[str, np.ndarray]:
    """Scores by part of the other images of a given split's people, which are among its nonmembers."""
    scored = {"nonmember": evidence.nonmember_scores, "calibration_out": evidence.calibration_nonmember_scores}
    found = {}
    for part, rows in split.others.items():
        among = "nonmember" if part in ("member", "nonmember") else "calibration_out"
        found[part] = scored[among][np.searchsorted(split.parts[among], rows)]
    return found


def is_weaker_with_weights(answers: MembershipEvidence | None, weights: MembershipEvidence | None) -> bool:
    """Tell whether an attack finds less with the weights than with the answers, each oriented by calibration; not where
    it was asked at one of them alone, nor of few images."""
    if answers is None or weights is None or weights.is_few:
        return False
    return weaker_with_more_access(
        *membership.oriented_scores(weights), *membership.oriented_scores(answers), answers.groups
    )


def _has_unguarded_shadows(context: AuditContext, attack: MembershipAttack, access: Access) -> bool:
    """Tell whether an attack compares a sampling-time defense's answers with shadow models, which lack the defense."""
    guarded = access is not Access.WEIGHTS and any(link.defense.changes == "sampling" for link in context.point.chain)
    return guarded and any(need.kind == "shadow" for need in attack.auxiliary_models())


def _count_consumed(attack: MembershipAttack, parts: dict[str, Images]) -> dict[str, int]:
    """Count what an attack had beside its queries: membership labels of calibration images, images known not to be
    members, shadow models."""
    held = len(parts["calibration_in"].ids) + len(parts["calibration_out"].ids)
    labels = min(held, getattr(attack, "labels", None) or held)  # an attack's own limit, where it has one
    return {
        "labels_consumed": labels if attack.out_of_fold and held else 0,
        "public_images": len(parts["reference"].ids) if attack.learns and attack.learns_from == "public" else 0,
        "shadow_models": sum(need.kind == "shadow" for need in attack.auxiliary_models()),
    }


def randomised(release: Release, images: Images) -> bool:
    """Tell whether the service answers the same query differently twice: then an attack has to average its answers."""
    few = images.take(torch.arange(min(8, len(images.ids)), device=images.ids.device)).batch
    middle = release.schedule.T // 2

    def answer(repeat: int) -> Tensor:
        return Release.with_repeat(release, repeat).eps(x0, full_timesteps(middle, x0), few.labels)

    with torch.no_grad():
        x0 = release.encode(few.images)
        return not torch.equal(answer(0), answer(1))


def _own_samples(context: AuditContext, count: int) -> Images:
    """The first `count` samples of the release, in 8 bits as its data set is, numbered after the last image of that."""
    levels = ((context.samples[:count] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    ids = len(context.inputs.data.images) + torch.arange(len(levels))
    labels, device = context.requested_labels, context.inputs.device
    pictures = ImageView(levels.permute(0, 2, 3, 1)).to(device)
    return Images(pictures, ids.to(device), None if labels is None else labels[: len(levels)].to(device))


def _groups(context: AuditContext) -> dict[str, np.ndarray]:
    """The group of each reported and calibration image, by the names of the evidence; nothing without groups."""
    group, parts = context.inputs.split.group, context.inputs.split.parts
    if group is None:
        return {}
    names = {
        "member_groups": "member",
        "nonmember_groups": "nonmember",
        "calibration_member_groups": "calibration_in",
        "calibration_nonmember_groups": "calibration_out",
    }
    return {name: group[parts[part]] for name, part in names.items()}


def _describe_reported(context: AuditContext) -> dict[str, np.ndarray]:
    """Rows of the data set that the reported images are (their `index` where it has one, by which its user knows
    them), and their labels: for leakage by class and by image."""
    split, labels, index = context.inputs.split.parts, context.inputs.data.labels, context.inputs.data.index
    found = {f"{part}_rows": split[part] if index is None else index[split[part]] for part in ("member", "nonmember")}
    return found | (
        {} if labels is None else {f"{part}_labels": labels[split[part]] for part in ("member", "nonmember")}
    )


def _forget_masks(context: AuditContext) -> membership.ForgetMasks | None:
    """Masks of members that were to be forgotten, and of nonmembers to compare with: of the same class, or all."""
    inputs, table = context.inputs, context.inputs.suite.file.forget
    if inputs.forgotten is None or table is None:
        return None
    member, nonmember = inputs.split.parts["member"], inputs.split.parts["nonmember"]
    alike = np.ones(len(nonmember), dtype=bool)
    if table.label is not None:
        assert inputs.data.labels is not None
        alike = inputs.data.labels[nonmember] == table.label
    return membership.ForgetMasks(np.isin(member, inputs.forgotten), alike)

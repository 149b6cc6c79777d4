"""Audits one release: draws its samples once, runs its attacks, measures its quality, writes a record each."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from leakbench import evaluate, plugins
from leakbench.api import Access, Attack, MembershipAttack, Need, Release, ReplicationAttack, ReplicationEvidence
from leakbench.embedding import Embedding
from leakbench.evaluate import Findings
from leakbench.features import file_digest, weights_at_hand
from leakbench.perceptual import alexnet_weights
from leakbench.records import QUALITY, Record, save_record
from leakbench.scoring import Asked, Images, Target, collect, rows_written
from leakbench.store import Store, disk_is_full, key_of
from leakbench.suite import Point
from leakbench.workbench import Workbench, sources

_JUDGING = (
    "audit",
    "copying",
    "embedding",
    "evaluate",
    "features",
    "quality",
    "readers",
    "scoring",
    "perceptual",
    "statistics",
)
_PAIRS = 12  # nearest pairs kept as pictures


@dataclass(frozen=True)
class Row:
    """One record to be written: an attack at an access level, or quality."""

    attack: str
    access: Access


class Audit:
    """One release of a suite: a point of a curve, at a seed."""

    def __init__(self, bench: Workbench, embedding: Embedding, point: Point, seed: int) -> None:
        self.bench, self.embedding, self.point, self.seed = bench, embedding, point, seed
        self.key = bench.release_key(point, seed)
        self.samples_store = Store(bench.setting.cache, "samples")

    @cached_property
    def release(self) -> Release:
        """The release under audit."""
        return self.bench.released(self.point.chain, self.seed)

    def rows(self) -> list[Row]:
        """The records that this release gets. An attack whose required parts do not ship is not applicable."""
        rows = [Row(QUALITY, Access.SAMPLES)]
        for name, attack in self.bench.suite.attacks.items():
            if isinstance(attack, MembershipAttack):
                rows += [Row(name, access) for access in rows_written(attack, False)]
            else:
                rows.append(Row(name, attack.access))
        return rows

    def row_key(self, row: Row) -> str:
        """Key of a record: everything that its numbers depend on."""
        attack = self.bench.suite.attacks.get(row.attack)
        return key_of(
            release=self.key,
            attack=attack and [attack.name, attack.model_dump(mode="json"), plugins.source_digest(type(attack))],
            access=row.access.name,
            quality=self.bench.suite.file.quality.model_dump(),
            judging=sources(*_JUDGING),
            images=self.bench.setting.images,
            weights=row.access is Access.SAMPLES
            and [weights_at_hand(self.bench.suite.file.quality.features), file_digest(alexnet_weights())],
        )

    @property
    def samples_key(self) -> str:
        """Key of the drawn samples."""
        return key_of(release=self.key, n=self.bench.suite.file.quality.samples)

    @cached_property
    def sampled(self) -> tuple[Tensor, dict[str, Any]]:
        """Samples (N, C, H, W) on the CPU and the facts that sampling showed; drawn once, then cached."""
        import json

        n = self.bench.suite.file.quality.samples

        def make(folder: Path) -> None:
            began = time.perf_counter()
            drawn = self.release.sample(n)
            facts = self.release.facts() | {"sample_seconds": time.perf_counter() - began}
            save_file({"samples": drawn.contiguous()}, folder / "samples.safetensors")
            (folder / "facts.json").write_text(json.dumps(facts, sort_keys=True))

        folder = self.samples_store.get(self.samples_key, make)
        return load_file(folder / "samples.safetensors")["samples"], json.loads((folder / "facts.json").read_text())

    def run(self, wanted: list[Row]) -> Iterator[Record]:
        """Make and save the wanted records, one after the other."""
        for row in wanted:
            if not self._applies(row):
                yield self._save(
                    row, self.bench.suite.attacks[row.attack].family, Findings([], {"not-applicable"}), {}, {}, ""
                )
        wanted = [row for row in wanted if self._applies(row)]
        by_attack: dict[str, list[Row]] = {}
        for row in wanted:
            by_attack.setdefault(row.attack, []).append(row)
        if any(row.access >= Access.SAMPLES for row in wanted):
            _ = self.sampled  # before any attack, so that a release that cannot sample is not blamed on them
        membership = {}
        errors: list[str] = []
        for name, rows in by_attack.items():
            attack = self.bench.suite.attacks.get(name)
            if attack is None:
                with _noted(name, errors):
                    yield self._quality(rows[0])
            elif isinstance(attack, ReplicationAttack):
                with _noted(name, errors):
                    yield self._replication(rows[0], attack)
            elif isinstance(attack, MembershipAttack):
                membership[name] = (attack, [row.access for row in rows])
        yield from self._membership_apart(membership, errors)
        if errors:
            raise AttackFailed("; ".join(errors))

    def _membership_apart(
        self, attacks: dict[str, tuple[MembershipAttack, list[Access]]], errors: list[str]
    ) -> Iterator[Record]:
        """All together, sharing network calls; if that fails, one by one, so that a broken attack costs no other."""
        together: list[str] = []
        with _noted("", together):
            yield from self._membership(attacks) if attacks else ()
        for name, one in attacks.items() if together else ():
            with _noted(name, errors):
                yield from self._membership({name: one})

    def _applies(self, row: Row) -> bool:
        attack = self.bench.suite.attacks.get(row.attack)
        return attack is None or attack.requires_parts <= set(self.release.parts)

    def _quality(self, row: Row) -> Record:
        began = time.perf_counter()
        samples, facts = self.sampled
        embedded = self.embedding(samples)
        train_seconds, evaluations = self.bench.cost(self.point.chain, self.seed)
        found = evaluate.quality_of(embedded, self.embedding.train, self.embedding.heldout, evaluations)
        found = found.joined(evaluate.lpips_of(samples, self.bench.train_images, self.bench.streams(self.seed)))
        found.info["network_calls_a_step"] = self.release.network_calls
        found.info["defense"] = self.release.info | {k: v for k, v in facts.items() if k != "sample_seconds"}
        timings = {"quality": time.perf_counter() - began, "train": train_seconds, "sample": facts["sample_seconds"]}
        return self._save(
            row, "quality", found, evaluate.moment_arrays(embedded), timings, self.embedding.features.name
        )

    def _replication(self, row: Row, attack: ReplicationAttack) -> Record:
        began = time.perf_counter()
        samples, _ = self.sampled
        train, device = self.bench.train_images, self.bench.device

        def match(queries: Tensor) -> Any:
            return attack.match(queries.to(device), train.to(device), self.embedding)

        ours, calibration, null = (
            match(samples),
            match(self.bench.part("reference")),
            match(self.bench.part("nonmember")),
        )
        evidence = ReplicationEvidence(ours.similarity, ours.index, calibration.similarity, null.similarity)
        arrays = dataclasses.asdict(evidence) | self._pairs(samples, train, evidence)
        space = attack.space(self.embedding.features.name)
        timings = {"attack": time.perf_counter() - began}
        return self._save(row, "replication", evaluate.replication(evidence), arrays, timings, space)

    def _pairs(self, samples: Tensor, train: Tensor, evidence: ReplicationEvidence) -> dict[str, np.ndarray]:
        """The samples most similar to a training image, beside it, uint8 (K, H, W, C); withheld, their hashes."""
        top = np.argsort(-evidence.similarity, kind="stable")[:_PAIRS]

        def stored(images: Tensor) -> np.ndarray:
            levels = ((images + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
            return np.asarray(levels.permute(0, 2, 3, 1).numpy())

        pairs = {
            "pair_samples": stored(samples[torch.from_numpy(top)]),
            "pair_nearest": stored(train[torch.from_numpy(evidence.nearest[top])]),
        }
        if not self.bench.setting.images:
            pairs = {
                f"{name}_sha256": np.array([hashlib.sha256(image.tobytes()).hexdigest() for image in images])
                for name, images in pairs.items()
            }
        return pairs | {"pair_similarity": evidence.similarity[top]}

    def _membership(self, attacks: dict[str, tuple[MembershipAttack, list[Access]]]) -> Iterator[Record]:
        began = time.perf_counter()
        asked: dict[str, Asked] = {}
        written: list[tuple[Row, str]] = []
        for name, (attack, levels) in attacks.items():
            for access, raw in rows_written(attack, self.release.answers_raw).items():
                if access in levels:
                    asked[f"{name}/{raw}"] = Asked(attack, raw)
                    written.append((Row(name, access), f"{name}/{raw}"))
        evidence, queries = collect(self._target(attacks), asked, self._attacked())
        calibration = sum(len(self.bench.split.parts[part]) for part in ("calibration_in", "calibration_out"))
        timings = {"membership_attacks_together": time.perf_counter() - began}
        for row, question in written:
            attack = attacks[row.attack][0]
            found = evaluate.membership(evidence[question], blind=row.access is Access.NONE)
            found.info["labels_consumed"] = calibration if attack.learns else 0
            found.info["shadow_models"] = len(attack.needs())
            arrays = dataclasses.asdict(evidence[question])
            yield self._save(row, "membership", found, arrays, timings, "", queries[question])

    def _attacked(self) -> dict[str, Images]:
        bench, device = self.bench, self.bench.device
        conditions = {"none": None, "label": bench.data.labels, "attribute": bench.split.attribute}
        labels = conditions[bench.suite.file.network.condition]
        return {
            name: Images(
                bench.images(rows).to(device),
                torch.from_numpy(rows).to(device),
                None if labels is None else torch.from_numpy(labels[rows]).to(device),
            )
            for name, rows in bench.split.parts.items()
            if name != "reference"
        }

    def _target(self, attacks: dict[str, tuple[MembershipAttack, list[Access]]]) -> Target:
        others = {}
        for need in needs_of(tuple(attack for attack, _ in attacks.values())):
            other = self.bench.released(self.point.chain[:1], self.seed, need)
            others[need.name] = (other.eps, self.bench.training_rows(need, self.seed))
        samples = self.sampled[0] if any(a.access >= Access.SAMPLES for a, _ in attacks.values()) else torch.empty(0)
        return Target(self.release, samples, self.bench.streams(self.seed), others)

    def _save(
        self,
        row: Row,
        family: Literal["membership", "replication", "attribute", "unlearning", "quality"],
        found: Findings,
        arrays: dict[str, np.ndarray],
        timings: dict[str, float],
        embedding: str,
        queries: float = 0.0,
    ) -> Record:
        suite = self.bench.suite
        attack = suite.attacks.get(row.attack)
        record = Record(
            suite=suite.file.name,
            dataset=self.bench.data.name,
            model=self.bench.model,
            defense=self.point.id,
            point=self.point.label,
            defense_params=self.point.parameters,
            attack=row.attack,
            family=family,
            attack_params={} if attack is None else attack.model_dump(mode="json"),
            features=embedding,
            access=row.access.name,  # type: ignore[arg-type]
            seed=self.seed,
            metrics=found.metrics,
            queries=queries,
            realised_fpr=found.realised_fpr,
            flags=sorted(found.flags),
            claims=self.release.claims,
            info=found.info,
            inputs=self.row_key(row),
            run={"environment": environment(self.bench.device), "timings": timings},
        )
        return save_record(self.bench.setting.out, record, arrays)


class AttackFailed(Exception):
    """Some attacks of a release raised; the records of all others are written."""


@contextmanager
def _noted(name: str, errors: list[str]) -> Iterator[None]:
    """Takes note of an attack's error instead of raising it; a full disk is nobody's fault and goes through."""
    try:
        yield
    except Exception as error:
        if disk_is_full(error) or os.environ.get("LEAKBENCH_DEBUG"):
            raise
        errors.append(f"attack {name!r}: {type(error).__name__}: {error}")


def needs_of(attacks: tuple[Attack, ...]) -> list[Need]:
    """Every release that some attack needs, each once, by name."""
    needs: dict[str, Need] = {}
    for attack in attacks:
        for need in attack.needs():
            if needs.setdefault(need.name, need) != need:
                raise ValueError(f"two attacks need different releases under the name {need.name!r}")
    return list(needs.values())


def environment(device: torch.device) -> dict[str, str]:
    """Versions and machine, for the part of a record that is not its identity."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    packages = {package: version(package) for package in ("leakbench", "torch", "numpy", "diffusers")}
    return {"python": platform.python_version(), "device": name, **packages}

"""The schema of a result: the only thing that reports read.

One JSON file a (release, attack, access level), one npz file of raw arrays beside it. What a record says is its
identity and its content; `run` (environment and timings) is kept apart: two runs of one plan on one machine differ
there and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from leakbench.results.families import FamilyName
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import write_atomically

if TYPE_CHECKING:
    import numpy as np

SCHEMA: Final = 2
QUALITY = "quality"  # the attack name of quality rows


class Metric(BaseModel):
    """One number with its 95 % interval, and the number of images or samples behind it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float | None  # None: could not be computed; a flag says why
    ci_low: float | None = None
    ci_high: float | None = None
    n: int


class Record(BaseModel):
    """What one attack (or the quality measurement) found at one access level of one release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[2] = SCHEMA
    suite: str
    dataset: str
    model: str  # the network, in words: mlp-256x4
    defense: str  # the id in the suite
    point: str  # the defense and its swept parameters, for tables: "cpsample alpha=0.25"; equals `defense` if no sweep
    defense_params: dict[str, Any]  # the whole chain's: {"alpha": 0.25, "baseline.steps": 8000}
    attack: str  # the id in the suite, or "quality"
    family: FamilyName | Literal["quality"]
    attack_params: dict[str, Any] = Field(default_factory=dict)
    features: str = ""  # the embedding, where one was used: classifier, inception, pixels
    access: Literal["NONE", "SAMPLES", "API", "DENOISER", "WEIGHTS"]
    seed: int
    metrics: list[Metric]
    queries: float = 0.0  # calls of the answered eps an attacked image, as if the attack ran alone
    realised_fpr: dict[str, float] = Field(default_factory=dict)  # by TPR metric name
    flags: list[str] = Field(default_factory=list)  # sorted
    guarantee: dict[str, Any] = Field(default_factory=dict)  # the release's: {"epsilon": 8.0, ...}
    info: dict[str, Any] = Field(default_factory=dict)  # facts: the defense's (gate rates), the attack's (threshold)
    inputs: str = ""  # key of the release and attack that made this
    arrays: str = ""  # sha256 of the npz beside this record; "" if there is none
    run: dict[str, Any] = Field(default_factory=dict)  # environment and timings: no part of the identity

    @property
    def stem(self) -> str:
        """File name without ending: readable, unique within a run."""
        words = (self.point, self.attack, self.access, f"seed{self.seed}")
        return "__".join("".join(c if c.isalnum() or c in ".=-_" else "_" for c in word) for word in words)

    @property
    def digest(self) -> str:
        """sha256 of all but `run`."""
        text = json.dumps(self.model_dump(mode="json", exclude={"run"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def metric(self, name: str) -> Metric | None:
        """The metric of a name, or None."""
        return next((m for m in self.metrics if m.name == name), None)


def read_record(path: Path) -> Record:
    """The record in a file. Raises UsageError that names the file and what is wrong with it."""
    try:
        text = path.read_bytes()
        with suppress(ValueError):  # pydantic says what is wrong with JSON that is none
            text = json.dumps(_migrated(json.loads(text))).encode()
        return Record.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
        raise UsageError(f"{path}: not a record ({what}); the same `leakbench run` command makes it again") from None


def _migrated(fields: Any) -> Any:
    """The fields of a record of an older schema as those of this one. 1 to 2: a release's claims are its guarantee."""
    if not isinstance(fields, dict) or fields.get("schema_version") != 1:
        return fields
    info = {key.replace("_claims", "_guarantee"): value for key, value in dict(fields.get("info") or {}).items()}
    kept = {key: value for key, value in fields.items() if key != "claims"}
    return kept | {"schema_version": 2, "guarantee": fields.get("claims", {}), "info": info}


def save_record(folder: Path, record: Record, arrays: dict[str, np.ndarray]) -> Record:
    """Write arrays/STEM.npz, then records/STEM.json that holds its hash. Returns the record with the hash."""
    import io

    import numpy as np

    if objects := [name for name, array in arrays.items() if array.dtype.hasobject]:
        raise TypeError(f"array {objects[0]!r} holds Python objects, which would be pickled; save plain numbers")
    if arrays:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        data = buffer.getvalue()
        write_atomically(folder / "arrays" / f"{record.stem}.npz", data)
        record = record.model_copy(update={"arrays": hashlib.sha256(data).hexdigest()})
    text = json.dumps(record.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"
    write_atomically(folder / "records" / f"{record.stem}.json", text.encode())
    return record


class RunFolder:
    """A finished (or unfinished) run on disk, for reports: its plan, its records, their arrays.

    plan.json holds: "suite" (name), "headline" (the metric that ranks: "tpr@fpr=0.1"), "seeds", "command", "points": a
    list of {"point", "defense", "role"} in the order of the suite, role one of "baseline", "defense", "control".
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def plan(self) -> dict[str, Any]:
        """plan.json."""
        try:
            plan: dict[str, Any] = json.loads((self.path / "plan.json").read_text())
        except ValueError:
            raise UsageError(
                f"{self.path / 'plan.json'}: damaged; run the same command again with another --out"
            ) from None
        return plan

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """history.json: a row for each `leakbench run` on this folder that computed something, oldest first."""
        path = self.path / "history.json"
        return list(json.loads(path.read_text())) if path.is_file() else []

    @cached_property
    def records(self) -> list[Record]:
        """All records, in the order of the plan's points, then by attack, access and seed."""
        order = {point["point"]: i for i, point in enumerate(self.plan["points"])}
        found = [read_record(path) for path in (self.path / "records").glob("*.json")]
        return sorted(found, key=lambda r: (order.get(r.point, len(order)), r.point, r.attack, r.access, r.seed))

    def arrays(self, record: Record) -> dict[str, np.ndarray]:
        """The raw arrays of a record (empty if it has none); never unpickles.

        membership: member_scores, nonmember_scores, calibration_member_scores, calibration_nonmember_scores (float64);
        member_rows, nonmember_rows (rows of the data set, or its `index` of them) and, where it has labels,
        member_labels, nonmember_labels.
        replication: similarity, nearest (per sample), null_similarity; and, unless images are withheld, the samples
        most similar to a training image: pair_samples, pair_nearest (K, H, W, C) uint8, pair_similarity (K,), most
        similar first. quality: mean, covariance, n of the samples' features.
        """
        import numpy as np

        path = self.path / "arrays" / f"{record.stem}.npz"
        if not record.arrays or not path.is_file():  # records may be handed on without what holds pictures
            return {}
        with np.load(path, allow_pickle=False) as packed:
            return dict(packed)

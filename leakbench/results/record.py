"""The schema of a record: what one attack, or the quality measurement, found at one access level of one release.

Identity and content are all but `run`: two runs of one plan on one machine differ in `run` and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from leakbench.results.facts import check_facts
from leakbench.results.families import FamilyName
from leakbench.results.names import Name

Facts = Annotated[dict[str, Any], AfterValidator(check_facts)]

SCHEMA: Final = 2
QUALITY = "quality"  # the attack name of quality records

AccessName = Literal["NONE", "SAMPLES", "API", "DENOISER", "WEIGHTS"]
ACCESS_LEVELS: Final[tuple[AccessName, ...]] = get_args(AccessName)  # each includes those before it


_LONGEST_NAME = 180  # characters of a file name, which file systems limit to 255 bytes


def _is_exact(name: str) -> bool:
    """True if no other point or attack has this one's readable name: each `_` there was a space, in the point of a
    sweep ("cpsample alpha=0.5"), or each was one before."""
    plain = re.fullmatch(r"[a-z0-9.=-]+([_ ][a-z0-9.=-]+)*", name) is not None
    swept = " " in name
    return plain and swept == ("=" in name) and not (swept and "_" in name)


class _Strict(BaseModel):
    """A frozen model that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Metric(_Strict):
    """One number with its 95 % interval, and the number of images or samples behind it.

    n_groups: the number of groups (people, patients, scenes) that these come from; None where images are not grouped.
    """

    name: Name
    value: float | None  # None: could not be computed; a flag says why
    ci_low: float | None = None
    ci_high: float | None = None
    n: int
    n_groups: int | None = None


class Environment(_Strict):
    """Device and versions by name, of the process that trained the release and of the one that audited it.

    An artefact may come out of the cache, so the two can differ. Empty: not known.
    """

    trainer: dict[str, str] = Field(default_factory=dict)
    auditor: dict[str, str] = Field(default_factory=dict)


class RunInfo(_Strict):
    """Facts of the one run that made a record: seconds by name, network calls an image by how they were counted, and
    the parts of the cache key `inputs`, by which `leakbench why` tells what changed since.

    trainings: what each training of the chain rested on (digest of the data, settings, versions; of code one digest),
    so that `leakbench rerun` can say on another machine, which has no cache of this run, what is not the same there.
    """

    environment: Environment = Field(default_factory=Environment)
    timings: dict[str, float] = Field(default_factory=dict)
    calls: dict[str, float] = Field(default_factory=dict)
    key: dict[str, Any] = Field(default_factory=dict)
    trainings: list[dict[str, Any]] = Field(default_factory=list)


class Record(_Strict):
    """The result of one attack (or of the quality measurement) at one access level of one release."""

    schema_version: Literal[2] = SCHEMA
    suite: Name
    dataset: Name
    model: Name  # the network, in words: mlp-256x4
    defense: Name  # the id in the suite
    point: Name  # the defense and its swept parameters, for tables: "cpsample alpha=0.25"; equals `defense` if no sweep
    defense_params: dict[str, Any]  # the whole chain's: {"alpha": 0.25, "baseline.steps": 8000}
    attack: Name  # the id in the suite, or "quality"; "loss@person" where people are asked about, not images
    adaptive: bool = False  # the attack was made against the defense, and knows how that works
    family: FamilyName | Literal["quality"]
    attack_params: dict[str, Any] = Field(default_factory=dict)
    features: Name = ""  # the embedding, where one was used: classifier, inception, pixels
    access: AccessName
    seed: int
    metrics: list[Metric]
    queries: float = 0.0  # calls of the answered eps an attacked image, as if the attack ran alone
    realised_fpr: dict[str, float] = Field(default_factory=dict)  # by TPR metric name
    flags: list[Name] = Field(default_factory=list)  # sorted; see results/flags.py
    guarantee: dict[str, Any] = Field(default_factory=dict)  # the release's: {"epsilon": 8.0, "unit": "image", ...}
    info: Facts = Field(default_factory=dict)  # facts: the defense's (gate rates), the attack's (threshold)
    inputs: str = ""  # key of the release and attack that made this
    arrays: str = ""  # sha256 of the npz beside this record; "" if there is none
    run: RunInfo = Field(default_factory=RunInfo)  # no part of the identity

    @property
    def attack_id(self) -> str:
        """The attack's id in the suite: "loss" of "loss@person"."""
        return self.attack.partition("@")[0]

    @property
    def unit(self) -> str:
        """What the attack is asked about: "image", or "person" or "identity"
        (leakbench.metrics.evaluate.persons)."""
        return self.attack.partition("@")[2] or "image"

    @property
    def stem(self) -> str:
        """File name without ending: readable, and no other record's of the run, also where file names ignore case.

        A digest of point, attack, access and seed ends it where the readable name could be that of another record.
        """
        name = self.readable_name
        if len(name) <= _LONGEST_NAME and _is_exact(self.point) and _is_exact(self.attack):
            return name
        identity = json.dumps([self.point, self.attack, self.access, self.seed])
        return f"{name[:_LONGEST_NAME]}__{hashlib.sha256(identity.encode()).hexdigest()[:12]}"

    @property
    def readable_name(self) -> str:
        """Point, attack, access and seed, with `_` for what has no place in a file name. Older versions named files by
        it alone, and two records could have the same."""
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

"""The suite file as written: its tables, and errors that name the file, the key and what would be right."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from leakbench.data import SplitSpec
from leakbench.data.forget_set import ForgetTable


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NetworkTable(_Table):
    """[network]: sizes that differ from the default for the image size, and what it is conditioned on."""

    width: int | None = Field(None, ge=8)
    blocks: int | None = Field(None, ge=1)
    levels: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(None, min_length=1, max_length=8)
    attention: int | None = Field(None, ge=1)
    dropout: float | None = Field(None, ge=0, lt=1)
    condition: Literal["none", "label", "attribute"] = "none"


class SamplerTable(_Table):
    """[sampler]: length of the deterministic DDIM walk, whether x_0 is clipped on its way, and rows of a full compute
    batch (part of every key)."""

    steps: int = Field(50, ge=1, le=1000)
    clip: bool = False
    batch: int = Field(256, ge=1)


class QualityTable(_Table):
    """[quality]: samples a release, the embedding (auto, inception, dinov2, classifier, rotation, pixels,
    torchscript:PATH), what joins it where its weights lie on this machine
    (leakbench.measurement.extra_features), and further measures of samples (leakbench.measurement.asked_quality)."""

    samples: int = Field(1000, ge=20)
    features: str = "auto"
    beside: tuple[Literal["dinov2", "sscd"], ...] = ("dinov2", "sscd")
    measures: tuple[Literal["fd_infinity", "fld", "authenticity", "c_t", "vendi", "utility"], ...] = ()


class PublishedRow(_Table):
    """[[published]]: a number that a paper reports, to stand beside the run's own.

    `defense` and `attack` are ids of the suite ("quality" for what needs no adversary), `metric` one of a record's, or
    "" where ours has no equal. `setting`: what the number was measured on. `note`: what differs here.
    """

    paper: str
    setting: str
    value: float | str
    metric: str = ""
    says: str = ""  # what the paper calls it, where that is not the metric's name
    defense: str = ""
    attack: str = ""
    note: str = ""


class SuiteFile(_Table):
    """A suite file as written. `headline` is the TPR that ranks: at FPR 10 % where negatives are few.

    `version` is that of a frozen set of attacks, and `ensemble` names the suite whose attacks this one takes over.
    `skip_broken`: leave image files out that do not decode. `compile`: run networks by torch.compile in long trainings
    and sampling. `generated_control`: let membership attacks also score the release's own samples, as many as there are
    members. `small`: values by path that --budget takes where the size as written is out of reach. `published`:
    what papers report.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")  # it names a folder
    summary: str = ""
    version: str = ""
    ensemble: str = ""
    dataset: str
    skip_broken: bool = False
    compile: bool = False
    generated_control: bool = False
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1)
    headline: Literal["tpr@fpr=0.1", "tpr@fpr=0.01", "tpr@fpr=0.001"] = "tpr@fpr=0.1"
    split: SplitSpec = SplitSpec()
    forget: ForgetTable | None = None
    network: NetworkTable = NetworkTable()
    sampler: SamplerTable = SamplerTable()
    quality: QualityTable = QualityTable()
    defense: tuple[dict[str, Any], ...] = Field(min_length=1)
    attack: tuple[dict[str, Any], ...] = ()
    small: dict[str, Any] = Field(default_factory=dict)
    published: tuple[PublishedRow, ...] = ()


def read_summary(path: Path) -> str:
    """The one-line summary of a suite file."""
    return str(tomllib.loads(path.read_text()).get("summary", ""))

"""A model that somebody else trained, as the bottom of a chain: nothing is trained here.

`path` is a folder that diffusers' save_pretrained wrote, a hub id (owner/name), a folder with one bare network, or
module:FILE.py:function (leakbench.models.pretrained says what is supported and how it is read). `captions` is a file of
captions of a text-conditional model, and a label is the number of one. `guidance` is the scale w of classifier-free
guidance that the service uses. `prediction` says what a bare network predicts, and `size` the side of the images in
pixels where the model makes others than its settings say (a fine-tune at 512 of a model of 1,024). `config` names
the settings of a single file of weights, a folder or a table. `trust_pickle` and
`trust_code` let a pickle or the model's own code run.

`lora` is an adapter to merge into the model (leakbench.models.pretrained.lora): a file or a folder. `reference` is the
model that it was fine-tuned from, given as `path` is; of an adapter that is the model without it. Attacks that are
calibrated by a base ask it.

Members are what its user says they are. No attack that needs shadow or retrained models applies: they cannot be made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from leakbench.api import Artefacts, PretrainedModel, PretrainedSpec, Release, Task, fit_param, release_param
from leakbench.models.pretrained.compatibility import check_reference
from leakbench.models.pretrained.header_work import count_header_work
from leakbench.models.pretrained.inspect import Options, describe_choices, list_files
from leakbench.models.work import Work
from leakbench.runtime.errors import UsageError


class Pipeline(PretrainedModel):
    """A given model, without any protection of ours."""

    name = "pipeline"
    summary = "a given model: a diffusers pipeline folder, a hub id, or a module of one's own; nothing is trained"

    path: str = fit_param(min_length=1)
    captions: str = fit_param("")
    lora: str = fit_param("")
    reference: str = fit_param("")
    prediction: Literal["epsilon", "v_prediction", "sample", "flow_prediction"] | None = fit_param(None)
    size: int | None = fit_param(None, ge=8)
    config: str = fit_param("")
    trust_pickle: bool = fit_param(False)
    trust_code: bool = fit_param(False)
    guidance: float = release_param(1.0, ge=0)

    @property
    def options(self) -> Options:
        """Its parameters as leakbench.models.pretrained takes them."""
        return Options(**self.model_dump(exclude={"reference"}))

    def spec(self) -> PretrainedSpec:
        """Shapes, conditions and schedule, from the model's settings alone."""
        from leakbench.models.pretrained.build import read_spec  # here, for it imports torch

        found, base = read_spec(self.options), self.base_model()
        if self.reference and base is not None:
            try:
                known = base.spec()
            except UsageError as error:
                raise UsageError(f"the base that it was fine-tuned from (--base, reference): {error}") from None
            check_reference(self.reference, found, known)
        return found

    def base_model(self) -> Pipeline | None:
        """The model without its adapter, or `reference`."""
        if self.lora:
            return self.model_copy(update={"lora": "", "reference": ""})
        if self.reference:
            return self.model_copy(update={"path": self.reference, "reference": "", "config": ""})
        return None

    @model_validator(mode="after")
    def _one_base(self) -> Pipeline:
        if self.lora and self.reference:
            raise PydanticCustomError("reference", "of a model with a lora, the reference is that model without it")
        return self

    def work(self) -> Work | None:
        """From the headers of its weights; None of a module of one's own, and of pickles."""
        return None if self.path.startswith("module:") else count_header_work(self.options)

    def display_name(self) -> str:
        """Name of its folder or hub id, and of its adapter."""
        return self.options.name

    def remarks(self) -> tuple[str, ...]:
        """Of a training checkpoint: its step, and whether its weights are an average."""
        return describe_choices(self.options)

    def files(self) -> tuple[Path, ...]:
        """The model's, and its base's."""
        base = self.base_model() if self.reference else None
        return (*list_files(self.options), *(base.files() if base else ()))

    def content_digest(self) -> str:
        """Digest of what an adapter answered."""
        from leakbench.models.pretrained.build import content_digest

        return content_digest(self.options)

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Read the weights and hand the model out. Its walk is the suite's number of steps, spaced as its scheduler
        says. It claims nothing."""
        from leakbench.models.pretrained.build import build, digest
        from leakbench.models.pretrained.release import PretrainedRelease

        content = digest(self.options)
        model = build(self.options, content, task.device)
        return task.release(
            model.network,
            PretrainedRelease,
            schedule=task.schedule,
            codec=model.codec,
            guidance=self.guidance,
            info={"model": model.name, "model_sha256": content} | model.facts,
            network_calls=1.0 if self.guidance == 1 or not model.network.spec.conditions else 2.0,
        )

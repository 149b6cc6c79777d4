"""Generated images in a folder or file, and no model: what is left to audit where only these were handed over.

The release answers `sample` from the images, in their order, and nothing else: whoever asks for its network, its noise
prediction or a variation is told that there is none. Attacks on the samples and on nothing run as on any release.

`images` is the name of a data set, such as folder:PATH or npz:PATH. `digest` is the sha256 of its content, so that
other images under the same name are other artefacts (`leakbench audit --samples` writes it); empty, the name alone
counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from leakbench.api import Access, Artefacts, PretrainedModel, Release, Task, fit_param
from leakbench.data import Dataset
from leakbench.data.member_folders import load_dataset
from leakbench.models.samples_only import SamplesOnly
from leakbench.models.work import Work
from leakbench.runtime.errors import UsageError


@dataclass(frozen=True)
class GivenRelease(SamplesOnly):
    """A release of `given` images alone. Sample number i is image i, whatever its label."""

    given: Dataset | None = None

    @property
    def conditions(self) -> int:
        """Zero: nobody can ask for a label."""
        return 0

    def sample(self, n: int, label: Tensor | None = None, first: int = 0) -> Tensor:
        """The images first .. first + n - 1, float32 on the CPU. Raises UsageError where there are fewer."""
        assert self.given is not None
        count = len(self.given.images)
        if first + n > count:
            raise UsageError(f"{self.given.name}: {count} generated images are there, and {first + n} are asked for")
        return self.given.tensors(torch.arange(first, first + n).numpy())

    def generate(self, ids: Tensor, label: Tensor | None = None, draw: int = 0) -> Tensor:
        """The images of these numbers."""
        assert self.given is not None
        return self.given.tensors(ids.cpu().numpy()).to(self.device)


class GivenSamples(PretrainedModel):
    """Generated images without their model."""

    name = "given_samples"
    summary = "generated images in a folder or file, without the model"
    is_iterative = False
    offers = Access.SAMPLES

    images: str = fit_param(min_length=1)
    digest: str = fit_param("")
    skip_broken: bool = fit_param(False)

    def display_name(self) -> str:
        """Say that there is no model."""
        return "none: generated images"

    def work(self) -> Work:
        """No operations: there is no network to ask."""
        return Work(0.0, 0.0)

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """The images, opened where they lie. Raises UsageError where their size or channels are not the data's."""
        given = load_dataset(self.images, self.name, self.skip_broken)
        if given.shape != task.network.shape:
            ours, theirs = ("x".join(map(str, shape)) for shape in (given.shape, task.network.shape))
            raise UsageError(
                f"{given.name}: generated images are {ours}, and the data are {theirs} (channels, height, width)"
            )
        return task.release(nn.Identity(), GivenRelease, given=given, network_calls=0.0)

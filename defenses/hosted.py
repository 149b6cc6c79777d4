"""A model behind an HTTP endpoint, as the bottom of a chain: it is asked for images, and for nothing else.

`endpoint` is a URL or a TOML file (leakbench.models.hosted.endpoint says what stands in it). `captions` is a file of
captions, and a label is the number of one: the entry then says `condition = "label"`. The service is asked for samples,
and for variations where its body takes an image; never to complete a masked image, and never for noise, so that attacks
at DENOISER and WEIGHTS are not run.

Every answer is kept (leakbench.models.hosted.answers): an endpoint of the same address, body and `version` is not asked
the same question twice, by no run. When the model behind the address changes, change `version`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from leakbench.api import Access, Artefacts, PretrainedModel, Release, Task, fit_param
from leakbench.models.hosted.endpoint import Endpoint, read_endpoint
from leakbench.models.work import Work


class Hosted(PretrainedModel):
    """A hosted model, without any protection of ours."""

    name = "hosted"
    summary = "a model behind an HTTP endpoint, which is asked for images alone; nothing is trained"
    is_iterative = False
    offers = Access.API

    endpoint: str = fit_param(min_length=1)
    captions: str = fit_param("")

    def _read(self) -> Endpoint:
        return read_endpoint(self.endpoint)

    def requests(self) -> frozenset[str]:
        """Variations, where its body has a place for an image."""
        return frozenset({"vary"} if self._read().takes("image") else ())

    def display_name(self) -> str:
        """Host and path."""
        return self._read().name

    def work(self) -> Work:
        """No operations on this machine."""
        return Work(0.0, 0.0)

    def files(self) -> tuple[Path, ...]:
        """The captions."""
        return (Path(self.captions),) if self.captions else ()

    def content_digest(self) -> str:
        """Key of what its answers depend on, which its price and its limits are not."""
        return self._read().key

    def describe_calls(self, calls: int) -> tuple[str, ...]:
        """Price and time of so many calls, and what was spent."""
        from leakbench.models.hosted.plan import describe_calls

        return describe_calls(self._read(), calls)

    def fit(self, task: Task) -> Artefacts:
        """Ask for the first sample, so that what is wrong with the service shows before anything else is done."""
        import torch

        release, first = self.release(Artefacts(), task), torch.zeros(1, dtype=torch.int64, device=task.device)
        release.generate(first, release.labels(first))
        return Artefacts()

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """The service. It claims nothing."""
        from leakbench.models.hosted.release import HostedRelease, NoNetwork
        from leakbench.models.hosted.service import Service
        from leakbench.models.pretrained.text_conditioning import read_captions

        endpoint, texts = self._read(), read_captions(self.captions) if self.captions else ()
        return task.release(
            NoNetwork(task.network, texts),
            HostedRelease,
            schedule=replace(task.schedule, steps=1),
            service=Service(endpoint),
            network_calls=0.0,
            info={"model": endpoint.name, "service": endpoint.name, "price_per_call": endpoint.price},
        )

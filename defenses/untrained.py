"""Negative control: a network of random weights. It has seen no image, so no attack may find anything in it."""

from leakbench.api import Artefacts, Defense, Guarantee, Release, Task


class Untrained(Defense):
    """A network that was never trained."""

    name = "untrained"
    summary = "random weights: the negative control"
    role = "control"

    def fit(self, task: Task) -> Artefacts:
        """Fresh weights."""
        from leakbench.models import networks  # here, for it imports torch
        from leakbench.runtime.device import place

        network = networks.build(task.network, task.streams.of("weights", self.name))
        return Artefacts({"denoiser": place(network, task.device).eval().requires_grad_(False)})

    def release(self, artefacts: Artefacts, task: Task) -> Release:
        """Hand it out. What never read an image is differentially private with epsilon 0."""
        return task.release(artefacts.networks["denoiser"], guarantee=Guarantee(epsilon=0, delta=0, history=()))

"""Loads the release that `leakbench export` writes from the cache, and checks that it can be exported.

Nothing is trained. A defense around the sampler is no part of a pipeline: `raw` confirms that it may stay behind.
"""

from __future__ import annotations

from dataclasses import replace

from leakbench.api import Release, as_pretrained
from leakbench.measurement.keys import fit_key
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.models.diffusers_export import objection
from leakbench.runtime.errors import UsageError
from leakbench.suite.release_spec import ReleaseSpec
from leakbench.suite.suite import Suite


def load_release(builder: ReleaseBuilder, point: ReleaseSpec, seed: int, command: str) -> Release:
    """Load the release of a point from the cache. Raises UsageError where its training is not there."""
    for length in range(1, len(point.chain) + 1):
        if builder.trainings.get_valid(fit_key(builder.inputs, point.chain[:length], seed)) is None:
            raise UsageError(
                f"{point.label}, seed {seed}: its weights are not in the cache {builder.inputs.config.cache} "
                f"for device {builder.inputs.device.type} and this version of leakbench; train them again: {command}"
            )
    return builder.build_release(point.chain, seed)


def drop_given_models(suite: Suite, point: ReleaseSpec) -> Suite:
    """The suite without the points whose model was handed in, so that nothing reads their files or runs their code.
    Raises UsageError where `point` is one of them."""
    check_not_given(point)
    return replace(suite, points=tuple(one for one in suite.points if as_pretrained(one.chain[0].defense) is None))


def check_not_given(point: ReleaseSpec) -> None:
    """Raise UsageError for a point whose model somebody handed in."""
    if point.chain and (model := as_pretrained(point.chain[0].defense)):
        raise UsageError(f"{point.label}: its model was given ({model.display_name()}): it has its files already")


def check_exportable(release: Release, point: ReleaseSpec, raw: bool) -> None:
    """Raise UsageError, in one line, where a pipeline folder cannot say what the release is."""
    check_not_given(point)
    guards = [link.id for link in point.chain if link.defense.changes == "sampling"]
    if guards and not raw:
        raise UsageError(
            f"{point.label}: only the raw network can be exported, without what {', '.join(guards)} does when it "
            "samples; say --raw if that is meant"
        )
    if why := objection(release):
        raise UsageError(f"{point.label}: cannot be a diffusers pipeline: {why}")

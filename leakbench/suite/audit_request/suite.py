"""The suite of an audit of somebody's own model: made of a request, not read from a file.

The bottom of its chain is a given model or given samples: nothing is trained. Choices of ours:
- Attacks: see leakbench.suite.audit_request.attacks; one that cannot work on the images or the model at hand is left
  out, and that is said. One that reads what only some defense ships is left out where no defense was asked for.
- Control: a small network of ours with random weights, attacked alike; up to 64x64 pixels. It knows nothing whatever
  its size, so it need not be the model's twin. Of samples alone there is none but the blind baseline. No positive
  control can be had of a model that others trained.
- The headline is the TPR at the lowest false-positive rate that ten nonmembers, at least, are expected to reach.
- A model of captions is measured in features that were learnt without labels: a caption is no class.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from leakbench.api import Access, Attack, AuditSetting, PretrainedSpec, Skip, shipped_parts
from leakbench.data import Dataset
from leakbench.data.member_folders import sides_name
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.suite.audit_request.attacks import Reach, entries_of
from leakbench.suite.load import ReleaseSpec, Suite, build_suite

GIVEN = "model"  # the id of what is audited
_WHERE = "leakbench audit"
_LARGEST = 64  # pixels a side of images on which the control is worth its time
_HEADLINES = {"tpr@fpr=0.001": 10_000, "tpr@fpr=0.01": 1_000}  # and the nonmembers that each takes


@dataclass(frozen=True)
class Request:
    """What is to be audited. `model`: parameters of the plugin that hands it out, with its `name`; members and
    nonmembers: names of data sets. attacks: "all", "strongest" or names. defenses: names of sampling-time defenses to
    put around the model. samples, shape: how many images were given, and of what shape, where they are all there is."""

    title: str
    model: dict[str, Any]
    members: str
    nonmembers: str
    attacks: str = "all"
    defenses: tuple[str, ...] = ()
    captions: str = ""
    seed: int = 0
    skip_broken: bool = False
    samples: int | None = None
    shape: tuple[int, ...] | None = None

    @property
    def reach(self) -> Reach:
        """What an attacker has."""
        return Reach(Access.WEIGHTS if self.samples is None else Access.SAMPLES)


def suite_of(request: Request, overrides: tuple[str, ...]) -> tuple[Suite, dict[str, str]]:
    """The checked suite, and of the attacks that had to be left out what each of them objects. Raises UsageError."""
    dataset = sides_name(request.members, request.nonmembers, request.captions, request.seed, request.skip_broken)
    data: Dataset = registry.dataset(dataset)()
    plugin = registry.find("defenses", request.model["name"])
    brought: PretrainedSpec | None = plugin(**{k: v for k, v in request.model.items() if k != "name"}).brings()
    if brought is not None:
        _check_fits(brought, data, request)
    if request.shape is not None and request.shape != data.shape:
        theirs, ours = ("x".join(map(str, shape)) for shape in (request.shape, data.shape))
        raise UsageError(
            f"--samples {request.model['images']}: generated images are {theirs}, and members and nonmembers {ours} "
            "(channels, height, width): they should be alike; --size N resizes and crops the images of folders"
        )
    table: dict[str, Any] = {
        "name": "audit-" + (re.sub(r"[^A-Za-z0-9._-]+", "-", request.title).strip("-.") or "model"),
        "summary": f"{request.title}, as it was given",
        "dataset": dataset,
        "seeds": [request.seed],
        "headline": _headline(Counter(np.asarray(data.split).tolist())["nonmember"]),
        "network": {"width": 16, "blocks": 1},
        "quality": _quality(request),
        "defense": [{"id": GIVEN, "role": "baseline", **request.model}, *_around(request), *_control(request, data)],
        "attack": entries_of(request.attacks, request.reach),
    }
    suite = build_suite(table, _WHERE, overrides)
    brought = suite.points[0].chain[0].defense.brings()
    if brought is not None:
        _check_fits(brought, data, request)
    return _fitting(_without_part_readers(suite, data, brought, request), data, brought)


def _check_fits(brought: PretrainedSpec, data: Dataset, request: Request) -> None:
    """Raise UsageError where the model makes other images, or is told other labels, than there are."""
    (ours, *size), (theirs, *side) = data.shape, brought.images
    if ours != theirs:
        raise UsageError(
            f"{data.name}: images have {ours} channel{'s' if ours > 1 else ''}, and {request.title} makes images of "
            f"{theirs}: give images as it was trained on"
        )
    if size != side:
        wanted = f"--size {side[0]} resizes and crops folders" if side[0] == side[1] else "resize them"
        told, made = (f"{height}x{width}" for height, width in (size, side))
        raise UsageError(f"{data.name}: images are {told} (height x width), and {request.title} makes {made}: {wanted}")
    count = brought.network.conditions
    if count and data.labels is None:
        raise UsageError(
            f"{data.name}: {request.title} is told one of {count} labels, and the images have none: write a "
            "labels.csv (columns file, label) into each folder"
        )
    if count and data.labels is not None and data.labels.max() >= count:
        raise UsageError(f"{data.name}: label {data.labels.max()}: {request.title} knows labels 0 to {count - 1}")


def _headline(nonmembers: int) -> str:
    return next((name for name, least in _HEADLINES.items() if nonmembers >= least), "tpr@fpr=0.1")


def _quality(request: Request) -> dict[str, Any]:
    table: dict[str, Any] = {} if request.samples is None else {"samples": request.samples}
    return table | ({"features": "rotation"} if request.captions else {})


def _model(request: Request, brought: PretrainedSpec | None) -> dict[str, Any]:
    conditioned = brought is not None and brought.network.conditions
    return {"id": GIVEN, "role": "baseline", **({"condition": "label"} if conditioned else {}), **request.model}


def _around(request: Request) -> list[dict[str, Any]]:
    return [{"name": name, "base": GIVEN} for name in request.defenses]


def _control(request: Request, data: Dataset) -> list[dict[str, Any]]:
    if request.reach.access < Access.API or max(data.shape[1:]) > _LARGEST:
        return []
    return [{"name": "untrained"}]


def _fitting(suite: Suite, data: Dataset, brought: PretrainedSpec | None) -> tuple[Suite, dict[str, str]]:
    """The suite without the attacks that cannot work on its images or model, and the reason of each of these."""
    said: dict[str, str] = {}
    for name, attack in suite.attacks.items():
        for point in suite.points:
            found = attack.skip(_setting(point, data, brought))
            if found is not None and found.severity == "cannot-work":
                said[name] = found.reason
    return _without(suite, said), said


def _without_part_readers(suite: Suite, data: Dataset, brought: PretrainedSpec | None, request: Request) -> Suite:
    """The suite without the attacks that read parts of a defense, where no defense was asked for.

    Raises UsageError for one that was asked for by name.
    """
    if request.defenses:
        return suite
    setting = _setting(suite.points[0], data, brought)
    found = {name: skip for name, attack in suite.attacks.items() if (skip := _skip_for_parts(attack, setting))}
    if found and request.attacks not in ("all", "strongest"):
        name, skip = next(iter(found.items()))
        raise UsageError(f"--attacks {name}: {skip.reason}")
    return _without(suite, found)


def _skip_for_parts(attack: Attack, setting: AuditSetting) -> Skip | None:
    """Reason of an attack that would not be skipped so if every part shipped."""
    found = attack.skip(setting)
    return found if found != attack.skip(replace(setting, parts=None)) else None


def _without(suite: Suite, names: Collection[str]) -> Suite:
    """The suite without the attacks of these ids."""
    kept = {name: attack for name, attack in suite.attacks.items() if name not in names}
    entries = tuple(entry for entry in suite.file.attack if entry.get("id", entry["name"]) not in names)
    return replace(suite, file=suite.file.model_copy(update={"attack": entries}), attacks=kept)


def _setting(point: ReleaseSpec, data: Dataset, brought: PretrainedSpec | None) -> AuditSetting:
    """Setting of an attack by the parts as drawn, before near-duplicates are removed."""
    counts = Counter(np.asarray(data.split).tolist())
    chain = tuple(link.defense for link in point.chain)
    return AuditSetting(
        chain=chain,
        condition="label" if brought and brought.network.conditions else "none",
        forget="nothing",
        timesteps=brought.schedule.T if brought else 1000,
        images=counts["member"] + counts["calibration_in"],
        pixels=data.shape[1] * data.shape[2],
        calibration=counts["calibration_in"] + counts["calibration_out"],
        parts=shipped_parts(chain),
    )

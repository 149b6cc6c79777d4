"""The suite of an audit of somebody's own model: made of a request, not read from a file.

The bottom of its chain is a given model or given samples: nothing is trained. Choices of ours:
- Attacks: see leakbench.suite.audit_request.attacks; one that cannot work on the images or the model at hand is left
  out, and that is said. One that reads what only some defense ships is left out where no defense was asked for.
- Control: the base that the model was fine-tuned from, where that is known: a trained network that has not
  learnt what the fine-tune did. Else a very small network of ours with random weights, attacked alike; up to 64x64
  pixels. It knows nothing whatever its size, so it is no twin of the model and takes a fraction of its time. Of samples
  alone there is none but the blind baseline. No positive control can be had of a model that others trained.
- The headline is the TPR at the lowest false-positive rate that ten nonmembers (groups of them, where images come in
  groups), at least, are expected to reach.
- Compute batches of large images are small, so that what is computed with them stays within some 100 MiB a tensor.
- A model of captions is measured in features that were learnt without labels: a caption is no class.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from leakbench.api import (
    Access,
    Attack,
    AuditSetting,
    PretrainedModel,
    PretrainedSpec,
    Skip,
    as_pretrained,
    pretrained_spec,
    shipped_parts,
)
from leakbench.data import Dataset, draw_split
from leakbench.data.folder_headers import check_headers
from leakbench.data.folder_name import with_channels
from leakbench.data.member_folders import FEW_SHARES, load_dataset, make_alike, name_sides
from leakbench.data.split import TooFewImages
from leakbench.models.network_spec import default_spec
from leakbench.runtime import registry
from leakbench.runtime.errors import SettingError, UsageError
from leakbench.suite.audit_request.around import check_around
from leakbench.suite.audit_request.attack_sets import FROZEN, SETS, split_choice
from leakbench.suite.audit_request.attacks import Reach, build_entries
from leakbench.suite.audit_request.early_checks import check_fits, check_samples, check_sides, peek_at
from leakbench.suite.file import SamplerTable
from leakbench.suite.load import build_suite
from leakbench.suite.release_spec import ReleaseSpec
from leakbench.suite.suite import Suite

GIVEN = "model"  # the id of what is audited
BASE = "base"  # and of what it was fine-tuned from
_WHERE = "leakbench audit"
_SMALL_BATCH, _MANY = 64, 512  # rows of a batch where there are fewer images of a side than that
_LARGEST = 64  # pixels a side of images on which the control is worth its time
_BATCH_PIXELS = 2**24  # numbers in the images of a compute batch, at the most: 64 MiB
_HOSTED_SAMPLES = 200  # of a hosted model, each a call that is paid
_HEADLINES = {"tpr@fpr=0.001": 10_000, "tpr@fpr=0.01": 1_000}  # and the nonmembers that each takes


@dataclass(frozen=True)
class Request:
    """An audit request.

    model: parameters of the plugin that hands it out, with its `name`. generated: name of the data set of generated
    images, where there is no model. hosted: the model is asked over a network. members, nonmembers: names of data sets.
    attacks: names of sets ("standard", "strongest", "all") and of attacks, with commas between.
    defenses: names of sampling-time defenses to put around the model. captions: the table that both the data set and
    the model read; typed_captions: the option as it was typed. groups: the table that says whose each image is.
    samples, shape: number and shape of generated images.
    few: no images are spared for calibration, as near-duplicates leave too few.
    """

    title: str
    model: dict[str, Any]
    members: str
    nonmembers: str
    attacks: str = SETS[0]
    defenses: tuple[str, ...] = ()
    captions: str = ""
    typed_captions: str = ""
    groups: str = ""
    seed: int = 0
    skip_broken: bool = False
    generated: str = ""
    hosted: bool = False
    samples: int = 20
    shape: tuple[int, ...] | None = None
    few: bool = False

    @property
    def reach(self) -> Reach:
        """Access that an attacker has."""
        if self.hosted:
            return Reach(Access.API)
        known = bool(self.model.get("lora") or self.model.get("reference"))
        return Reach(Access.SAMPLES if self.generated else Access.WEIGHTS, known)


def build_audit_suite(request: Request, overrides: tuple[str, ...]) -> tuple[Suite, dict[str, str]]:
    """The checked suite, and the objections of the attacks that had to be left out. Raises UsageError.

    All that can be checked without decoding an image is checked first. Where near-duplicates leave too few images to
    spare any for calibration, none are spared.
    """
    suite, said, data = _build(request, overrides, _load)
    try:
        draw_split(data, suite.file.split)
    except TooFewImages:
        request = replace(request, few=True)
        suite, said, data = _build(request, overrides, _load)
        _check_split(suite, data, request)
    return suite, said


def outline_audit_suite(
    request: Request, overrides: tuple[str, ...], outline: Callable[[Request, PretrainedSpec | None], Dataset]
) -> tuple[Suite, dict[str, str], Dataset]:
    """The same without decoding an image, and the data set as `outline` makes it. Near-duplicates are not known, nor
    whether they leave too few images."""
    return _build(request, overrides, outline)


def _load(request: Request, model: PretrainedSpec | None) -> Dataset:
    data: Dataset = registry.dataset(_dataset(request))()
    return data


def _build(
    request: Request, overrides: tuple[str, ...], load: Callable[[Request, PretrainedSpec | None], Dataset]
) -> tuple[Suite, dict[str, str], Dataset]:
    check_around(request.defenses)
    first = build_suite(_table(request), _WHERE, overrides)
    given = as_pretrained(first.points[0].chain[0].defense)
    base = given.base_model() if given else None
    model = _read_model(request, first)
    sides = {"members": request.members, "nonmembers": request.nonmembers}
    check_sides(sides, model, request.title, request.captions, request.skip_broken)
    request = _with_channels(request, model)
    if request.generated:
        request = _read_samples(request)
    data = load(request, model)
    if model is not None:
        check_fits(data.name, data, model, request.title)
    if request.generated:
        check_samples(request.generated, request.samples, request.shape, data.shape)
    parts = Counter(np.asarray(data.split).tolist())
    table = _table(request, data.few) | {"headline": _headline(data), "sampler": _sampler(parts, data)}
    table["defense"] += _control(request, data, base)
    table["network"] |= _control_levels(data)
    suite = build_suite(table, _WHERE, overrides)
    return *_fitting(_without_part_readers(suite, data, model, request), data, model), data


def _dataset(request: Request) -> str:
    given = request.captions, request.seed, request.skip_broken, request.groups, request.few
    return name_sides(request.members, request.nonmembers, *given)


def _table(request: Request, few: bool = False) -> dict[str, Any]:
    """The suite file, but for what depends on the images. few: none of them are spared for calibration."""
    return {
        "name": "audit-" + (re.sub(r"[^A-Za-z0-9._-]+", "-", request.title).strip("-.") or "model"),
        "summary": f"{request.title}, as it was given",
        "ensemble": request.attacks if request.attacks in FROZEN else "",
        "dataset": _dataset(request),
        "seeds": [request.seed],
        "network": {"width": 8, "blocks": 1},
        "quality": _quality(request),
        "defense": [{"id": GIVEN, "role": "baseline", **request.model, **_condition(request)}, *_around(request)],
        "attack": build_entries(request.attacks, replace(request.reach, few=few), bool(request.captions)),
    }


def _read_model(request: Request, suite: Suite) -> PretrainedSpec | None:
    """Shapes, conditions and schedule of the given model; None of samples alone. Raises UsageError."""
    try:
        spec = pretrained_spec(suite.points[0].chain[0].defense)
    except SettingError as error:
        if error.key == "captions" and not request.captions:
            raise UsageError(
                f"{request.title}: a text-conditional model: give --captions FILE.csv with the columns file and "
                "caption, or --captions txt for a .txt file beside every image"
            ) from None
        typed = {"captions": request.typed_captions, "guidance": request.model.get("guidance")}.get(error.key)
        raise error if not typed else error.as_option(typed) from None
    return spec


def _with_channels(request: Request, model: PretrainedSpec | None) -> Request:
    """The request with folders that are made alike: grey or RGB as the model makes images; without a model, grey if
    all of them are."""
    if model is not None:
        channels = model.images[0]
        members, nonmembers = (with_channels(name, channels) for name in (request.members, request.nonmembers))
        return replace(request, members=members, nonmembers=nonmembers)
    if request.hosted:
        members, nonmembers = make_alike([request.members, request.nonmembers], _WHERE, request.skip_broken)
        return replace(request, members=members, nonmembers=nonmembers)
    _check_sample_headers(request)
    names = [request.members, request.nonmembers, request.generated]
    members, nonmembers, generated = make_alike(names, _WHERE, request.skip_broken)
    changed = replace(request, members=members, nonmembers=nonmembers, generated=generated)
    return replace(changed, model=request.model | {"images": generated})


def _check_sample_headers(request: Request) -> None:
    """Check number, kinds and size of the generated images before any image is decoded. Raises UsageError."""
    glimpse, members = peek_at(request.generated), peek_at(request.members)
    if glimpse is None:
        return
    check_headers(glimpse.given, glimpse.files, request.skip_broken)
    if request.skip_broken:
        return
    if glimpse.shape is None or members is None or members.shape is None:
        check_samples(request.generated, glimpse.count, None, None)
    else:  # channels are compared where decoding cannot make them alike
        channels = min(glimpse.shape[0], members.shape[0])
        shapes = glimpse.shape_for(channels), members.shape_for(channels)
        check_samples(request.generated, glimpse.count, *shapes)


def _read_samples(request: Request) -> Request:
    """The request with the number, the shape and the digest of the generated images. Raises UsageError."""
    data = load_dataset(request.generated, "--samples", request.skip_broken)
    model = request.model | {"digest": data.digest}
    title = data.name.partition(":")[2] or data.name
    check_samples(request.generated, len(data.images), None, None)
    return replace(request, title=title, model=model, samples=len(data.images), shape=data.shape)


def _check_split(suite: Suite, data: Dataset, request: Request) -> None:
    """Raise UsageError where near-duplicates leave a part with too few images."""
    try:
        draw_split(data, suite.file.split)
    except TooFewImages as error:
        side = next(side for side, shares in FEW_SHARES.items() if error.part in (side[:-1], *shares))
        raise UsageError(
            f"--{side} {getattr(request, side)}: near-duplicates are left out, and then part '{error.part}' has "
            f"{error.got} of at least {error.least} images: give more of them, or ask for less with --set "
            "split.duplicate_radius=0"
        ) from None


def _headline(data: Dataset) -> str:
    rows = np.flatnonzero(np.asarray(data.split) == "nonmember")
    nonmembers = len(rows) if data.group is None else len(np.unique(data.group[rows]))
    return next((name for name, least in _HEADLINES.items() if nonmembers >= least), "tpr@fpr=0.1")


def _sampler(parts: Counter[str], data: Dataset) -> dict[str, Any]:
    """Rows of a compute batch: few where the parts are small, because each part fills its last batch up, and where
    images are large, a power of two; else the suite's own."""
    few = _SMALL_BATCH if min(parts["member"], parts["nonmember"]) < _MANY else SamplerTable().batch
    rows = min(few, 2 ** (max(1, _BATCH_PIXELS // prod(data.shape)).bit_length() - 1))
    return {"batch": rows} if rows < SamplerTable().batch else {}


def _quality(request: Request) -> dict[str, Any]:
    table: dict[str, Any] = {"samples": request.samples} if request.generated else {}
    if request.hosted:
        table["samples"] = _HOSTED_SAMPLES
    return table | ({"features": "rotation"} if request.captions else {})


def _condition(request: Request) -> dict[str, str]:
    """Of a hosted model, which has no settings that tell it."""
    return {"condition": "label"} if request.hosted and request.captions else {}


def _around(request: Request) -> list[dict[str, Any]]:
    return [{"name": name, "base": GIVEN} for name in request.defenses]


def _control(request: Request, data: Dataset, base: PretrainedModel | None) -> list[dict[str, Any]]:
    if base is not None:
        return [{"id": BASE, "role": "control", "name": base.name, **base.model_dump(exclude_defaults=True)}]
    if request.reach.access < Access.API or max(data.shape[1:]) > _LARGEST:
        return []
    return [{"name": "untrained"}]


def _control_levels(data: Dataset) -> dict[str, Any]:
    """Levels of the control's network, which attends in its middle alone; none up to 8x8, where it is an MLP."""
    return {} if default_spec(data.shape).kind == "mlp" else {"levels": [1, 2, 2], "attention": 1}


def _fitting(suite: Suite, data: Dataset, spec: PretrainedSpec | None) -> tuple[Suite, dict[str, str]]:
    """The suite without the attacks that cannot work on its images or model, and the reason of each of these."""
    said: dict[str, str] = {}
    for name, attack in suite.attacks.items():
        for point in suite.points:
            found = attack.skip(_setting(point, data, spec))
            if found is not None and found.severity == "cannot-work":
                said[name] = found.reason
    return _without(suite, said), said


def _without_part_readers(suite: Suite, data: Dataset, spec: PretrainedSpec | None, request: Request) -> Suite:
    """The suite without the attacks that read parts of a defense, where no defense was asked for.

    Raises UsageError for one that was asked for by name.
    """
    if request.defenses:
        return suite
    setting = _setting(suite.points[0], data, spec)
    found = {name: skip for name, attack in suite.attacks.items() if (skip := _skip_for_parts(attack, setting))}
    for name in split_choice(request.attacks):
        if name in found:
            raise UsageError(f"--attacks {name}: {found[name].reason}")
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


def _setting(point: ReleaseSpec, data: Dataset, spec: PretrainedSpec | None) -> AuditSetting:
    """Setting of an attack by the parts as drawn, before near-duplicates are removed.

    The control is a network of ours, with the suite's own schedule, whatever the given model has.
    """
    counts = Counter(np.asarray(data.split).tolist())
    chain = tuple(link.defense for link in point.chain)
    spec = spec if as_pretrained(chain[0]) else None
    return AuditSetting(
        chain=chain,
        condition=point.chain[0].condition or ("label" if spec and spec.network.conditions else "none"),
        forget="nothing",
        timesteps=spec.schedule.T if spec else 1000,
        images=counts["member"] + counts["calibration_in"],
        pixels=data.shape[1] * data.shape[2],
        calibration=counts["calibration_in"] + counts["calibration_out"],
        parts=shipped_parts(chain),
    )

"""`leakbench.audit`, and the preparation of an audit that `leakbench audit` shares with it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from leakbench.interface.audit_request import REQUEST, make_request
from leakbench.interface.call import format_call
from leakbench.interface.execution import execute
from leakbench.interface.in_memory import locate_images, locate_model
from leakbench.interface.options import Device, Labels, PathName, check_at_least, check_choice, list_paths
from leakbench.interface.process import run_settings
from leakbench.interface.results import Results
from leakbench.interface.served_callable import serve_callable
from leakbench.interface.settings import Settings, to_overrides
from leakbench.runner.plan import Rerun
from leakbench.runner.process import start_process
from leakbench.runner.run import Run, prepare_run
from leakbench.runtime import registry
from leakbench.runtime.errors import UsageError
from leakbench.runtime.paths import user_path
from leakbench.suite.audit_request.suite import build_audit_suite


def audit(
    model: PathName | Any | None,
    members: PathName | Any,
    nonmembers: PathName | Any,
    *,
    samples: PathName | Any | None = None,
    endpoint: PathName | None = None,
    out: PathName | None = None,
    size: int | None = None,
    captions: PathName | None = None,
    lora: PathName | None = None,
    base: PathName | None = None,
    guidance: float | None = None,
    attacks: str | Sequence[str] = "standard",
    defenses: str | Sequence[str] = (),
    settings: Settings = (),
    seed: int = 0,
    device: Device = "auto",
    workers: int | None = None,
    rerun: Rerun = "missing",
    cell_limit: float | None = None,
    images: bool = False,
    skip_broken: bool = False,
    convert: bool = False,
    upright: bool = False,
    levels: str | None = None,
    labels: Labels | None = None,
    groups: PathName | tuple[Any, Any] | None = None,
    group_by: str | None = None,
    trust_pickle: bool = False,
    trust_code: bool = False,
    plugins: PathName | Sequence[PathName] = (),
) -> Results:
    """Audit a model of your own: measure what it gives away about the images that it was trained on.

    It does what `leakbench audit` does, with the same numbers, and shows its progress, but prints no table. Attacks
    that cannot work on this model or these images are left out, with a warning that says why. docs/your_model.md goes
    through it step by step.

    - model: a diffusers pipeline: the object, its folder, or a hub id; or a function of (prompt, seed, image) that
      answers an image (docs/hosted.md). None where there are only `samples` or an `endpoint`.
    - members, nonmembers: images that it was trained on, and images like them that it was not: a folder of images (of
      any depth), an .npz file, the name of a data set; or a tensor (N, C, H, W), an array (N, H, W) or (N, H, W, C), or
      PIL images of one size: whole numbers 0 to 255, or floats in [0, 1] or, if any is negative, in [-1, 1].
    - samples: generated images, where there is no model; given as members are.
    - endpoint: of a hosted model: a URL, or a TOML file (docs/hosted.md).
    - out: the folder for the results, else runs/audit-MODEL below the working directory. Attacks and defenses that it
      holds of earlier audits of this model and these images are kept in it and in the results.
    - size: resize and crop the images of folders to so many pixels a side, at least 2.
    - captions: a CSV file with the columns file and caption; or "txt": a .txt beside every image.
    - lora: LoRA, DoRA, LoHa or LoKr weights to merge into the model: a file or a folder. The model is then its base.
    - base: the model that it was fine-tuned from, given as the model is. With it, or with `lora`, attacks on the loss
      get a twin that compares the two, and the base is audited beside as a control.
    - guidance: scale of classifier-free guidance, at least 0: how much more of a caption the model draws.
    - attacks: "standard" (a frozen set, strong for its cost), "strongest" (the frozen set that papers compare by),
      "all" (whatever can be run on a given model), or names, in a list or with commas.
    - defenses: sampling-time defenses to put around the model.
    - seed: of the draw of calibration images, and of all noise; at least 0.
    - images: keep pictures of members beside what copies them.
    - convert: make image files of other kinds (16 bits, transparency, CMYK) 8-bit grey or RGB, on all sides by one rule
      (docs/datasets.md).
    - upright: turn images as their EXIF says, on all sides alike.
    - levels: "LOW:HIGH", the values that are black and white in image files of floating point or more than 8 bits.
    - labels: "folder": the subfolders of members and nonmembers are class labels. Without it, labels.csv is asked.
    - groups: whose each image is (a person, patient, scene): a CSV file with the columns file and group; of images in
      memory, two lists of a number or a name each: of the members, of the nonmembers.
    - group_by: the same by the names of files: "folder", the subfolder that an image lies in, or a regular expression
      such as "patient-([0-9]+)". Without either, labels.csv and the array `group` are asked (docs/medical.md).
    - trust_pickle, trust_code: load weights that can run code; run a pipeline's own code.
    - settings, device, workers, rerun, cell_limit, skip_broken, plugins: as in `leakbench.run`.

    Raises UsageError, in one line, before anything is computed; RunFailed where cells failed, whose `results` are those
    of the others; OSError for a full disk or a worker that was killed.
    """
    sets = {"members": members, "nonmembers": nonmembers} | ({} if samples is None else {"samples": samples})
    named = None if groups is None or isinstance(groups, str | PathLike) else groups
    given = locals() | locate_images(sets, named)
    given["groups"] = groups if named is None else None
    del given["sets"], given["named"]
    with run_settings(), serve_callable(model) as served:
        if served and endpoint is not None:
            raise UsageError(f"endpoint = {endpoint!r}: goes in place of a model, and a function is given")
        at_hand = None if served or model is None else locate_model(model)
        given |= {"model": at_hand, "endpoint": served or endpoint}
        prepared = prepare_audit(**given)
        for name, objection in prepared.left_out.items():
            warnings.warn(f"left out: {name}: {objection}", stacklevel=2)
        return execute(prepared.run, format_call(audit, given))


@dataclass(frozen=True)
class PreparedAudit:
    """The run of an audit, and why the attacks that are left out cannot work, by name."""

    run: Run
    left_out: dict[str, str]


def prepare_audit(
    model: PathName | None,
    members: PathName,
    nonmembers: PathName,
    *,
    samples: PathName | None,
    endpoint: PathName | None,
    out: PathName | None,
    size: int | None,
    captions: PathName | None,
    lora: PathName | None,
    base: PathName | None,
    guidance: float | None,
    attacks: str | Sequence[str],
    defenses: str | Sequence[str],
    settings: Settings,
    seed: int,
    device: Device,
    workers: int | None,
    rerun: Rerun,
    cell_limit: float | None,
    images: bool,
    skip_broken: bool,
    convert: bool,
    upright: bool,
    levels: str | None,
    labels: Labels | None,
    groups: PathName | None,
    group_by: str | None,
    trust_pickle: bool,
    trust_code: bool,
    plugins: PathName | Sequence[PathName],
) -> PreparedAudit:
    """The audit that the options of `audit` ask for, checked and planned. Sets up this process to compute, and writes
    nothing. Raises UsageError."""
    given = locals()
    check_choice("rerun", rerun, Rerun)
    for file in list_paths(plugins):
        registry.load_file(file)
    request = make_request(**{name: given[name] for name in REQUEST})
    check_at_least("workers", workers, 1)
    check_at_least("cell_limit", cell_limit, 0.01)
    check_choice("device", device, Device)
    suite, left_out = build_audit_suite(request, to_overrides(settings))
    folder = None if out is None else str(user_path(out))
    run = prepare_run(
        suite,
        folder,
        device=start_process(device),
        workers=workers,
        rerun=rerun,
        images=images,
        cell_limit=cell_limit,
    )
    return PreparedAudit(run, left_out)

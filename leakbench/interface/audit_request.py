"""From the options of an audit to its request. Imports no torch: a plan by headers starts here too."""

from __future__ import annotations

from collections.abc import Sequence
from os import fspath
from typing import Any

from leakbench.data.group_by_name import check_pattern
from leakbench.data.levels import Levels
from leakbench.interface.options import Labels, PathName, check_at_least, check_choice, list_names
from leakbench.runtime.errors import UsageError
from leakbench.runtime.paths import user_path
from leakbench.suite.audit_request.request import (
    name_dataset,
    request_of_endpoint,
    request_of_model,
    request_of_samples,
)
from leakbench.suite.audit_request.suite import Request

REQUEST = (  # the options that a request follows from
    "model",
    "members",
    "nonmembers",
    "samples",
    "endpoint",
    "size",
    "captions",
    "lora",
    "base",
    "guidance",
    "attacks",
    "defenses",
    "seed",
    "skip_broken",
    "convert",
    "upright",
    "levels",
    "labels",
    "groups",
    "group_by",
    "trust_pickle",
    "trust_code",
)


def make_request(
    *,
    model: PathName | None,
    members: PathName,
    nonmembers: PathName,
    samples: PathName | None,
    endpoint: PathName | None,
    size: int | None,
    captions: PathName | None,
    lora: PathName | None,
    base: PathName | None,
    guidance: float | None,
    attacks: str | Sequence[str],
    defenses: str | Sequence[str],
    seed: int,
    skip_broken: bool,
    convert: bool,
    upright: bool,
    levels: str | None,
    labels: Labels | None,
    groups: PathName | None,
    group_by: str | None,
    trust_pickle: bool,
    trust_code: bool,
) -> Request:
    """The request that the options of `audit` ask for. Raises UsageError."""
    if labels is not None:
        check_choice("labels", labels, Labels)
    check_at_least("size", size, 2)
    check_at_least("guidance", guidance, 0)
    check_at_least("seed", seed, 0)
    around = list_names(defenses)
    stated = None if levels is None else Levels.parse(levels, "--levels")
    table = None if captions is None else str(user_path(captions))
    if group_by is not None:
        check_pattern("--group-by", group_by)
        if groups is not None:
            raise UsageError(
                f"--group-by {group_by}: --groups {groups} says whose each image is: leave one of them out"
            )
    if groups is not None and not user_path(groups).is_file():
        raise UsageError(f"--groups {groups}: no such file; give a CSV file with the columns file and group")
    said_alike = (size, convert, labels, upright, stated, group_by or "")
    given: dict[str, Any] = {
        "members": name_dataset("--members", fspath(members), *said_alike),
        "nonmembers": name_dataset("--nonmembers", fspath(nonmembers), *said_alike),
        "groups": "" if groups is None else str(user_path(groups)),
        "attacks": ",".join(list_names(attacks)),
        "defenses": around,
        "seed": seed,
        "skip_broken": skip_broken,
    }
    if given["members"] == given["nonmembers"]:
        raise UsageError(
            f"--members and --nonmembers are both {members}: give the images that it was trained on, and others like "
            "them that it was not"
        )
    if [model, samples, endpoint].count(None) < 2:
        raise UsageError("audit: MODEL, --samples DIR and --endpoint URL are three kinds of model: give one of them")
    if [model, samples, endpoint].count(None) == 3:
        raise UsageError(
            "audit: give a MODEL, or --samples DIR where there are only generated images, or --endpoint URL of a "
            "hosted model"
        )
    if endpoint is not None:
        around_it: dict[str, Any] = {"lora": lora, "base": base, "guidance": guidance, "defense": around}
        return request_of_endpoint(fspath(endpoint), around_it, table, given)
    if model is not None:
        if lora is not None and base is not None:
            raise UsageError(f"--base {base}: with --lora the base is MODEL itself: leave one of them out")
        if base is not None and user_path(base).resolve() == user_path(model).resolve():
            raise UsageError(f"--base {base}: is MODEL itself: give the model that it was fine-tuned from")
        said: dict[str, Any] = {
            "trust_pickle": trust_pickle or None,
            "trust_code": trust_code or None,
            "guidance": guidance,
        }
        said |= {"lora": lora and str(user_path(lora)), "reference": base and str(user_path(base))}
        return request_of_model(str(user_path(model)), said, table, given)
    assert samples is not None
    told: dict[str, Any] = {"captions": table, "lora": lora, "base": base, "guidance": guidance, "defense": around}
    images = name_dataset("--samples", fspath(samples), size, convert, upright=upright, levels=stated)
    return request_of_samples(images, told, given)

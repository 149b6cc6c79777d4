"""Every attack of an audit of a given model, run on a kind of the table in docs/models.md: what `leakbench audit KIND
--attacks all` would run, by the command's own functions from its options on, with four images of each part."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

EACH, PUBLIC = 4, 8  # images of each part that attacks are given, and of the reference part
SIDE = 60  # images of each side that the command is given: enough for every attack's defaults
WORDS = ("a", "cat", "the", "red", "house", "dog")  # that the tokenizers of the tests know
SETTINGS = ("sampler.steps=4", "sampler.batch=8", "quality.samples=20", "quality.features=pixels")
SMALL: dict[str, dict[str, Any]] = {  # parameters of attacks that call often, or compare with more images than EACH
    "calibrated_likelihood": {"steps": 2},
    "carlini_pixel": {"neighbours": 4},
    "flipd": {"steps": 2, "draws": 1, "probes": 1},
    "inpaint_extraction": {"attempts": 2, "keep": 1},
    "likelihood": {"steps": 2},
    "noise_aggregation": {"m": 2},
    "prompt_search": {"tries": 2, "images": 1, "timesteps": (400,)},  # it asks of each of 1,000 classes
    "quantile": {"bag": 1},
    "rediffuse": {"draws": 2},
    "rediffuse_nn": {"draws": 2},
    "relearned_loss": {"steps": 2},
    "side": {"clusters": 2, "neighbours": 4, "steps": 2},
    "sima_mc": {"draws": 2},
    "transformed_copy": {"neighbours": 4},
}
STEPS = 3  # of the training of the networks that quantile, rediffuse_nn and secmi_nn learn


def describe_small() -> str:
    """SMALL and STEPS in words."""
    said = [f"`{name}` {', '.join(f'{key} {value}' for key, value in more.items())}" for name, more in SMALL.items()]
    learnt = f"the networks of `quantile`, `rediffuse_nn` and `secmi_nn` learn for {STEPS} steps"
    return f"Parameters that were made small: {'; '.join(said)}; {learnt}."


@dataclass
class Pictures:
    """Folders of noise, and the captions of their images, made once for a shape."""

    home: Path

    def sides(self, shape: tuple[int, ...], classes: bool) -> list[Path]:
        """Folders of members and of nonmembers; with subfolders of five classes."""
        from PIL import Image

        home = self.home / f"{'x'.join(map(str, shape))}{'-classes' * classes}"
        sides = [home / "members", home / "nonmembers"]
        pixels = np.random.default_rng(0)
        for side in sides if not home.exists() else ():
            for number in range(SIDE):
                drawn = pixels.integers(0, 256, (*shape[1:], shape[0]), dtype=np.uint8)
                file = side / (str(number % 5) if classes else "") / f"{side.name}-{number:02}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(drawn[..., 0] if shape[0] == 1 else drawn).save(file)
        return sides

    def captions(self) -> Path:
        """A table of captions of two words; members have others than nonmembers."""
        pairs = [f"{one} {two}" for one in WORDS for two in WORDS]
        table = self.home / "pictures.csv"
        with table.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file", "caption"])
            for half, side in enumerate(("members", "nonmembers")):
                rows.writerows([f"{side}-{at:02}.png", pairs[half::2][at % 18]] for at in range(SIDE))
        return table

    def options(self, path: Path, given: dict[str, Any], spec: Any) -> dict[str, Any]:
        """The options of `leakbench audit` of a model. spec: of that model; None where it is refused."""
        classes = spec is not None and bool(spec.network.conditions) and "captions" not in given
        members, nonmembers = self.sides((3, 16, 16) if spec is None else spec.images, classes)
        said: dict[str, Any] = {"model": path, "members": members, "nonmembers": nonmembers}
        said |= {"captions": self.captions()} if "captions" in given else {}
        said |= {"lora": given["lora"]} if "lora" in given else {}
        said |= {"labels": "folder"} if classes else {}
        left = {key: value for key, value in given.items() if key not in ("captions", "lora")}
        return said | {"settings": tuple(f"defense.model.{key}={value}" for key, value in left.items())}


def plan(options: dict[str, Any]) -> str:
    """What `leakbench audit KIND --plan` says against it, "" if nothing."""
    from leakbench.cli.command_line import main

    words = ["leakbench", "audit", str(options["model"]), "--device", "cpu", "--plan"]
    words += [word for one in options["settings"] for word in ("--set", one)]
    said = {name: str(one) for name, one in options.items() if name not in ("model", "settings")}
    words += [word for name, one in said.items() for word in (f"--{name}", one)]
    out, err = io.StringIO(), io.StringIO()
    try:
        with patch.object(sys, "argv", words), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        if end.code:
            return err.getvalue().strip().removeprefix("leakbench: ")
    return "" if "cells (0 to train)" in out.getvalue() else f"no plan: {out.getvalue()}"


@dataclass(frozen=True)
class Came:
    """What came of the attacks, by id: those that ran with finite answers alone, the failures of others, and the
    reasons of those that do not apply."""

    ran: list[str]
    failed: dict[str, str]
    reasons: dict[str, str]

    def __str__(self) -> str:
        if self.failed:
            return "NO: " + "; ".join(f"{name}: {why}" for name, why in self.failed.items())
        return f"yes: {len(self.ran)}" + (f", {len(self.reasons)} not applicable" if self.reasons else "")


def prepare(options: dict[str, Any], out: Path, each: int, public: int) -> tuple[Any, Any]:
    """The audit of a model, prepared, and the context of its release, of so many images a part."""
    from leakbench.interface.audit import audit, prepare_audit
    from leakbench.measurement.audit_context import AuditContext
    from leakbench.measurement.feature_extractor import FeatureExtractor
    from leakbench.measurement.inputs import RunInputs
    from leakbench.measurement.releases import ReleaseBuilder

    defaults = {name: one.default for name, one in signature(audit).parameters.items() if one.default is not one.empty}
    ours = {"attacks": "all", "device": "cpu", "workers": 1, "settings": (*options["settings"], *SETTINGS), "out": out}
    prepared = prepare_audit(**(defaults | options | ours))
    whole = prepared.run.plan.inputs
    counts = {name: public if name == "reference" else each for name in whole.split.parts}
    few = replace(whole.split, parts={name: rows[: counts[name]] for name, rows in whole.split.parts.items()})
    inputs = RunInputs.outlined(whole.suite, whole.config, whole.data, few)
    point = next(point for point in inputs.suite.points if point.id == "model")
    return prepared, AuditContext(ReleaseBuilder(inputs), FeatureExtractor(inputs), point, 0)


def run_all(options: dict[str, Any], out: Path) -> Came:
    """Run every attack that the audit offers once on the loaded release."""
    from leakbench.measurement.compatibility import audit_setting, skip_attack

    prepared, context = prepare(options, out, EACH, PUBLIC)
    inputs, point = context.inputs, context.point
    came = Came([], {f"left out: {name}": why for name, why in prepared.left_out.items()}, {})
    for name, attack in prepared.run.plan.inputs.suite.attacks.items():
        smaller = type(attack)(**(attack.model_dump() | SMALL.get(attack.name, {})))
        if skip := skip_attack(smaller, audit_setting(inputs, point.chain)):
            came.reasons[name] = skip.reason
            continue
        try:
            finite = all(np.isfinite(one).all() for one in _answers(context, smaller))
        except Exception as error:  # it is what the table is for
            came.failed[name] = f"{type(error).__name__}: {error}"
        else:
            came.ran.append(name) if finite else came.failed.update({name: "scores that are not finite"})
    return came


def _answers(context: Any, attack: Any) -> list[np.ndarray]:
    """All that one attack answers; of one that reads membership its scores, fitted on calibration images."""
    from leakbench.measurement.families import MEASUREMENTS

    if attack.family == "membership":
        return [scores(context, attack)]
    measurement = MEASUREMENTS[attack.family]
    if measurement.measure is not None:
        found = [measurement.measure(context, attack, attack.access)]
    else:
        assert measurement.measure_together is not None
        found = [one for _, one in measurement.measure_together(context, {"it": (attack, [attack.access])})]
    return [one for contents in found for one in contents.arrays.values() if one.dtype.kind == "f"]


@contextlib.contextmanager
def _short_trainings() -> Iterator[None]:
    """Train what attacks learn for STEPS steps: these numbers are no parameters of theirs."""
    from leakbench.attacks.membership import _map_reader, quantile

    short = partial(_map_reader.train_classifier, steps=STEPS)
    with (
        patch.object(_map_reader, "train_classifier", short),
        patch.object(quantile, "_RECIPE", replace(quantile._RECIPE, steps=STEPS)),
    ):
        yield


def scores(context: Any, attack: Any) -> np.ndarray:
    """Float (2 N,): what an attack says of N members and N nonmembers, where it learns something fitted before."""
    from leakbench.api import Access
    from leakbench.data.image_batch import Images
    from leakbench.measurement.membership_evidence import CalibrationFitter
    from leakbench.measurement.query_engine import AttackRequest

    parts = {name: context.images(rows) for name, rows in context.inputs.split.parts.items()}
    calibration = Images.concatenate([parts["calibration_in"], parts["calibration_out"]])
    reported = Images.concatenate([parts["member"], parts["nonmember"]])
    target, raw = context.target([attack]), attack.access is Access.WEIGHTS
    each = len(parts["member"].ids)
    fitter = CalibrationFitter(target, calibration, np.repeat([True, False], each), parts["reference"])
    with _short_trainings():
        fitted = fitter.fit(AttackRequest(attack, raw))
    found: np.ndarray = target.score({"it": AttackRequest(fitted, raw)}, reported)[0]["it"]
    assert found.shape == (2 * each,)
    return found

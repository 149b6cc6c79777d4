"""Results of a run by the names of image files, for the owner of the images: which members are given away, and
copied, and which prompts are flagged.

A run itself names no file. Numbers are turned into names afterwards, where the images are: the data set is opened as
the run opened it, and the parts are drawn again. Where they are not those of the run, the images have changed since.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from leakbench.api import as_pretrained
from leakbench.data.caption_file import read
from leakbench.data.file_names import name_images
from leakbench.data.overlap import Overlap
from leakbench.measurement.inputs import RunInputs
from leakbench.results.run_folder import RunFolder
from leakbench.runtime.cache.location import cache_root
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import write_atomically
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import build_suite

_SIDES = ("member", "nonmember")
_PROMPTS = {"member": ("prompt", "prompt_scores"), "nonmember": ("null_prompt", "null_scores")}


def write_named_files(run: RunFolder, out: Path) -> list[Path]:
    """Write scores.csv, copies.csv, near_duplicates.csv, of a given split overlap.csv, and of a run that asked about
    prompts prompts.csv into `out`, and return their paths. Raises UsageError where images lie in no files, or are not
    those of the run.

    - scores.csv: `file`, `part`, and a column for each record of membership by image: its score, higher: more likely a
      member;
    - copies.csv: `record`, `sample`, `similarity`, `file`: the member nearest to each sample, most similar first;
    - near_duplicates.csv: as in the run, by names;
    - overlap.csv: as in the run, by names;
    - prompts.csv: `record`, `prompt` (its number), `part`, `score`, `flagged` (0 or 1), `caption`: highest score first.
    """
    inputs = RunInputs(build_suite(dict(run.plan.settings), str(run.path)), RunConfig(run.path, cache_root()))
    names = np.array(name_images(inputs.suite.file.dataset, inputs.suite.file.skip_broken))
    files = {
        "scores.csv": _scores(run, inputs, names),
        "copies.csv": _copies(run, inputs, names),
        "near_duplicates.csv": _near_duplicates(inputs, names),
    }
    if inputs.overlap is not None:
        files["overlap.csv"] = _overlap(inputs, inputs.overlap, names)
    if prompts := _prompts(run, inputs):
        files["prompts.csv"] = _table(["record", "prompt", "part", "score", "flagged", "caption"], prompts)
    out.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        write_atomically(out / file, text.encode("utf-8", "surrogateescape"))
    return [out / file for file in files]


def _numbers(inputs: RunInputs) -> np.ndarray:
    """The number of every row of the data set: its index where it has one."""
    data = inputs.data
    return np.arange(len(data.images)) if data.index is None else data.index


def _scores(run: RunFolder, inputs: RunInputs, names: np.ndarray) -> str:
    numbers = {part: _numbers(inputs)[inputs.split.parts[part]] for part in _SIDES}
    columns: dict[str, np.ndarray] = {}
    for record in run.records:
        arrays = run.arrays(record, [f"{part}_{what}" for part in _SIDES for what in ("rows", "scores")])
        if not all(f"{part}_rows" in arrays for part in _SIDES):
            continue
        if not all(np.array_equal(arrays[f"{part}_rows"], numbers[part]) for part in _SIDES):
            raise UsageError(f"{run.path}: its images are not those that stand there now: they changed since the run")
        columns[record.stem] = np.concatenate([arrays[f"{part}_scores"] for part in _SIDES])
    parts = np.repeat(_SIDES, [len(numbers[part]) for part in _SIDES])
    files = names[np.concatenate([numbers[part] for part in _SIDES])]
    rows = zip(files, parts, *(map(_format, column) for column in columns.values()), strict=True)
    return _table(["file", "part", *columns], rows)


def _copies(run: RunFolder, inputs: RunInputs, names: np.ndarray) -> str:
    train = names[_numbers(inputs)[inputs.split.train]]
    rows = []
    for record in run.records:
        arrays = run.arrays(record, ["similarity", "nearest"])
        if "nearest" not in arrays:
            continue
        for sample in np.argsort(-arrays["similarity"], kind="stable"):
            similarity, nearest = arrays["similarity"][sample], arrays["nearest"][sample]
            rows.append((record.stem, int(sample), _format(similarity), train[nearest]))
    return _table(["record", "sample", "similarity", "file"], rows)


def _prompts(run: RunFolder, inputs: RunInputs) -> list[tuple[object, ...]]:
    found, words = [], _captions(inputs)
    for record in run.records:
        arrays = run.arrays(record, [name for side in _PROMPTS.values() for name in side])
        if record.family != "memorisation" or "threshold" not in record.info:
            continue
        for part, (numbers, scores) in _PROMPTS.items():
            for number, score in zip(arrays[numbers], arrays[scores], strict=True):
                flagged = int(score >= record.info["threshold"])
                found.append((record.stem, -score, int(number), part, flagged))
    return [
        (stem, number, part, _format(-minus), flagged, words[number] if words else "")
        for stem, minus, number, part, flagged in sorted(found)
    ]


def _captions(inputs: RunInputs) -> tuple[str, ...]:
    """The captions of the run's given model, by number; () of classes."""
    models = [as_pretrained(point.chain[0].defense) for point in inputs.suite.points]
    files = [str(getattr(model, "captions", "")) for model in models]
    return next((read(Path(file)).texts for file in files if file), ())


def _near_duplicates(inputs: RunInputs, names: np.ndarray) -> str:
    found, numbers = inputs.split.duplicates, _numbers(inputs)
    gone = np.flatnonzero(~found.keep)
    others = names[numbers[found.resembles[gone]]]
    rows = zip(names[numbers[gone]], others, map(_format, found.distance[gone]), strict=True)
    return _table(["file", "resembles", "distance"], rows)


def _overlap(inputs: RunInputs, found: Overlap, names: np.ndarray) -> str:
    numbers = _numbers(inputs)
    files = names[numbers[found.nonmember]], names[numbers[found.member]]
    rows = zip(*files, map(_format, found.distance), found.kinds, strict=True)
    return _table(["file", "overlaps", "distance", "differs"], rows)


def _format(value: float) -> str:
    return f"{value:.6g}"


def _table(header: list[str], rows: Iterable[tuple[object, ...]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    return text.getvalue()

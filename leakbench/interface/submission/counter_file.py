"""The folder of a counter-evaluation: counter.toml, the raw scores, and the attack's plugin if its author gives it.

counter.toml:

submission = "10e415d9..."       # the digest that `leakbench check submission` prints
point = "cpsample scale=10.0"    # the point of it that was attacked, and the seed
seed = 0
attack = "my_attack"             # its name; the plugin's, if there is one
access = "DENOISER"              # what it needs
queries = 12.0                   # network calls an image
by = "A. Nother, 2026"           # optional: who filed it
plugin = "my_attack.py"          # optional: a file of this folder
parameters = { t = 100 }         # optional: the plugin's

scores.npz: as `leakbench score` reads it; the reported images in the order of the submission's rows.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from leakbench.interface.score_file import read_score_file
from leakbench.interface.score_results import ScoreResults
from leakbench.interface.submission.arrays import read_arrays
from leakbench.results.record import AccessName
from leakbench.results.run_digest import digest_hashes, hash_file
from leakbench.runtime.errors import UsageError
from leakbench.runtime.toml_file import read_toml, validate
from leakbench.runtime.zip_members import check_name

COUNTER, SCORES = "counter.toml", "scores.npz"
_MOST_BYTES = {COUNTER: 2**16, SCORES: 2**26}
_OTHER_BYTES = 2**20

_Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class CounterFile(BaseModel):
    """counter.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    submission: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    point: _Word
    seed: int = Field(ge=0)
    attack: _Word
    access: AccessName
    queries: float = Field(ge=0)
    by: _Word | None = None
    plugin: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+\.py$")] | None = None
    parameters: dict[str, object] = Field(default_factory=dict)


@dataclass(frozen=True)
class Counter:
    """A counter-evaluation as it was filed. digest: of its files. plugin: the path of its plugin, or None."""

    file: CounterFile
    scores: ScoreResults
    digest: str
    plugin: Path | None


def read_counter(folder: Path) -> Counter:
    """Read and check the folder; runs nothing of it. Raises UsageError, in one line."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; a counter-evaluation is one with {COUNTER} and {SCORES}")
    names = [path.name for path in sorted(folder.iterdir())]
    for name in names:
        check_name(name, str(folder))
        found = (folder / name).lstat()
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{folder}: {name!r} is a link or a folder; a counter-evaluation has plain files")
        if found.st_size > _MOST_BYTES.get(name, _OTHER_BYTES):
            raise UsageError(f"{folder}: {name!r} is too large")
    for needed in (COUNTER, SCORES):
        if needed not in names:
            raise UsageError(f"{folder}: has no {needed}")
    file: CounterFile = validate(CounterFile, read_toml(folder / COUNTER), str(folder / COUNTER))
    if file.plugin is not None and file.plugin not in names:
        raise UsageError(f"{folder / COUNTER}: plugin = {file.plugin!r}: no such file beside it")
    read_arrays((folder / SCORES).read_bytes(), str(folder / SCORES))  # nothing else than numbers of their size
    scores = ScoreResults(read_score_file(folder / SCORES).arrays)
    digest = digest_hashes({name: hash_file(folder / name) for name in names})
    return Counter(file, scores, digest, None if file.plugin is None else folder / file.plugin)

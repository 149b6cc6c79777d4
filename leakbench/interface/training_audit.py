"""`leakbench.TrainingAudit`: a model audited while it trains, and the curve of its leakage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from leakbench.interface.audit import audit
from leakbench.interface.checkpoint_series import AUC, read_rows
from leakbench.interface.options import PathName, check_at_least
from leakbench.interface.results import Results
from leakbench.runtime.errors import UsageError
from leakbench.runtime.paths import user_path
from leakbench.statistics import Estimate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SMALL = {"quality.samples": 50, "quality.features": "pixels", "sampler.steps": 20}


class TrainingAudit:
    """A callback for training loops that audits the model every so many steps.

        watch = leakbench.TrainingAudit(members, nonmembers, every=500, out="runs/training")
        for step in range(1, steps + 1):
            ...
            watch(step, DDPMPipeline(unet, scheduler))
        watch.curve()

    The loop goes on bit for bit as it would without it: random states, modes of modules and weights stay. Each audit
    has a folder of its own, OUT/step-000500, and one that is finished is read, not done again.

    - members, nonmembers, options: as `leakbench.audit` takes them; all but `model` and `out`.
    - every: steps from one audit to the next, at least 1.
    - out: the folder of the folders.
    - attacks: quick ones by default.
    - settings: by default 50 samples in 20 steps, and distances of pixels: this is about membership.
    - workers: 1 by default, in the process of the loop, which holds the device.
    """

    def __init__(
        self,
        members: Any,
        nonmembers: Any,
        *,
        every: int,
        out: PathName,
        attacks: str | Sequence[str] = ("blind", "loss", "pia"),
        settings: Any = None,
        workers: int | None = 1,
        **options: Any,
    ) -> None:
        check_at_least("every", every, 1)
        self._sets, self._every, self._out = (members, nonmembers), every, user_path(out)
        self._options = options | {
            "attacks": attacks,
            "settings": SMALL if settings is None else settings,
            "workers": workers,
        }
        self.results: dict[int, Results] = {}
        """Results by step."""

    def __call__(self, step: int, pipeline: Any) -> Results | None:
        """Audit the pipeline (the object, or a function without arguments that makes it) if `step` is a multiple of
        `every`; None otherwise. Raises as `leakbench.audit` does."""
        if step % self._every:
            return None
        made = pipeline() if callable(pipeline) and not hasattr(pipeline, "save_pretrained") else pipeline
        out = self._out / f"step-{step:06d}"
        self.results[step] = audit(made, *self._sets, out=out, **self._options)
        return self.results[step]

    def curve(self) -> pd.DataFrame:
        """Leakage by step: columns `step`, `attack`, `auc` and its 95 % interval, `auc_low` and `auc_high`; oriented,
        above 1/2 where members were told from nonmembers. Raises UsageError before the first audit."""
        import pandas as pd

        rows = [
            (step, name, one.value, one.low, one.high) for name, line in self._lines().items() for step, one in line
        ]
        return pd.DataFrame(rows, columns=["step", "attack", "auc", "auc_low", "auc_high"])

    def plot(self) -> Figure:
        """The curve with its intervals, a line an attack. Raises UsageError before the first audit."""
        from leakbench.reports.figures.training import draw_leakage

        figure: Figure = draw_leakage(self._lines())
        return figure

    def _lines(self) -> dict[str, list[tuple[int, Estimate]]]:
        """Steps and AUCs of each attack."""
        if not self.results:
            raise UsageError(f"{self._out}: no audit yet: the first is at step {self._every}")
        found: dict[str, list[tuple[int, Estimate]]] = {}
        for row in read_rows(self.results):
            if row.metric == AUC:
                found.setdefault(row.attack, []).append((row.step, row.estimate))
        return found

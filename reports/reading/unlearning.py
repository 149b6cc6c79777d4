"""Results of attacks on unlearning: statistics of the images to forget, recovery curves of a forgotten label.

They are measured against a model that was trained without these images, attacked in the same way: only what lies beyond
it is due to the method. Over seeds a p value is the largest of the seeds', adjusted by Holm over all statistics of
images in the run. A computation that is the same at the answers and at the weights is listed once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from leakbench.results.run_folder import RunFolder

from .aggregate import Aggregate
from .attack_results import AttackResult, adjust_p_values, list_results

SHOWN = 0.05

WHAT = {
    "forget": "denoising loss",
    "psnr": "image that comes back from its seed (PSNR)",
    "likelihood": "likelihood of its seed",
    "relearn": "training on few forgotten images",
    "relearn_retained": "training on retained images alone",
    "inversion": "the label's embedding",
}

AUC_ENDING = "_auc_excess"
CURVE_ENDING = "_excess"


@dataclass(frozen=True)
class UnlearningResult(AttackResult):
    """A statistic or curve of an attack, by the name that its metrics begin with. `p`: adjusted, of a statistic."""

    name: str = ""
    p: float | None = None

    def aggregate(self, metric: str) -> Aggregate | None:
        """A metric whose name begins with the statistic's."""
        return super().aggregate(f"{self.name}{metric}")

    @property
    def what(self) -> str:
        """The statistic or curve in words."""
        return WHAT.get(self.name, self.name)


def list_statistics(run: RunFolder) -> list[UnlearningResult]:
    """Statistics of images: forget images against never-seen ones."""
    found = _asked(run, AUC_ENDING)
    after = adjust_p_values([row.p_value(f"{row.name}{AUC_ENDING}_p") for row in found])
    return [replace(row, p=p) for row, p in zip(found, after, strict=True)]


def list_curves(run: RunFolder) -> list[UnlearningResult]:
    """Curves of labels: forget probability against the attacker's steps."""
    return [row for row in _asked(run, CURVE_ENDING) if not row.name.endswith("_auc")]


def _asked(run: RunFolder, ending: str) -> list[UnlearningResult]:
    found = (row for point in run.plan.points for row in list_results(run, point, "unlearning"))
    return [UnlearningResult(**vars(row), name=name) for row in found for name in _names(row, ending)]


def _names(row: AttackResult, ending: str) -> list[str]:
    names = [metric.name for record in row.records for metric in record.metrics if metric.name.endswith(ending)]
    return [name.removesuffix(ending) for name in dict.fromkeys(names)]

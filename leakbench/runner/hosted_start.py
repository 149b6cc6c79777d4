"""The first sample of a hosted model, asked for before anything else is begun.

Whatever is wrong with a service (an address, a key, a size, a function that raises) shows at its first answer, and
nothing that an audit of it computes is worth having without one. The answer is kept, so that it is asked for once.
"""

from __future__ import annotations

from collections.abc import Sequence

from leakbench.api import Access, as_pretrained
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.runner.cell import Cell
from leakbench.runner.executors.worker import Worker
from leakbench.runtime.progress import progress


def ask_first(builder: ReleaseBuilder, cells: Sequence[Cell]) -> None:
    """Do the cells that ask hosted models for their first sample. Raises UsageError for a model that gives none."""
    for cell in cells:
        model = as_pretrained(cell.chain[-1].defense) if cell.kind == "fit" else None
        if model is not None and model.offers is Access.API:
            with progress(f"asking {model.display_name()} for its first sample"):
                Worker(builder).do(cell, lambda share: None)

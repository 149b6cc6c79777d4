"""Models that were handed in, not trained here: what a report can then not say."""

from __future__ import annotations

from leakbench.results.run_folder import RunFolder


def pretrained_defenses(run: RunFolder) -> list[str]:
    """The defenses that hand out a given model, those at the bottom of a chain; plans of old say nothing of it."""
    bottoms = [[*planned.bases, planned.defense][0] for planned in run.plan.points if planned.given]
    return list(dict.fromkeys(bottoms))


def only_samples_asked(run: RunFolder) -> bool:
    """True if nothing was asked for but generated images, as of a model that nobody has."""
    asked = {record.access for record in run.records if record.metrics}
    return bool(asked) and asked <= {"NONE", "SAMPLES"}

"""The Frechet distances of a run: to held-out images (the quality axis), its floor, and what to call them."""

from __future__ import annotations

from leakbench.results.metric_specs import DISTANCE_FLOOR, HELDOUT_DISTANCE, TRAINING_DISTANCE
from leakbench.results.record import Record
from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint

from .aggregate import Aggregate, aggregate
from .formatting import distance_title
from .selection import quality_records


def heldout_distance(run: RunFolder, point: PlannedPoint) -> Aggregate | None:
    """The distance of a point's samples to held-out images."""
    return aggregate(quality_records(run, point), HELDOUT_DISTANCE)


def aggregate_distance(records: list[Record], metric: str, beside: str = HELDOUT_DISTANCE) -> Aggregate | None:
    """Aggregate one of the Frechet distances over the seeds, but those of records whose distance `beside` it is at
    another number of images: a distance falls with that number, so that side by side the two would mislead. Records of
    early versions hold such. None where nothing is left."""
    return aggregate([record for record in records if not _is_apart(record, metric, beside)], metric)


def has_distances_apart(run: RunFolder) -> bool:
    """True where distances are not shown, since they are at another number of images."""
    records = (record for point in run.plan.points for record in quality_records(run, point))
    apart = (DISTANCE_FLOOR, TRAINING_DISTANCE)
    return any(_is_apart(record, name, HELDOUT_DISTANCE) for record in records for name in apart)


def _is_apart(record: Record, metric: str, beside: str) -> bool:
    found, other = record.metric(metric), record.metric(beside)
    return found is not None and other is not None and found.n != other.n


def images_a_side(run: RunFolder) -> list[int]:
    """The numbers of images a side of the distances to held-out images, the least first: one, unless records differ."""
    records = (record for point in run.plan.points for record in quality_records(run, point))
    return sorted({found.n for record in records if (found := record.metric(HELDOUT_DISTANCE)) is not None})


def find_floor(run: RunFolder) -> Aggregate | None:
    """The distance of real to real images. Each point measured the same one, so the first will do."""
    floors = (aggregate_distance(quality_records(run, point), DISTANCE_FLOOR) for point in run.plan.points)
    return next((floor for floor in floors if floor is not None), None)


def floor_mean(run: RunFolder) -> float | None:
    """The mean of the floor over the seeds."""
    floor = find_floor(run)
    return None if floor is None else floor.summary.mean


def distance_name(run: RunFolder) -> str:
    """The name of the run's Frechet distance: by its features, and FID for Inception's alone."""
    features = {join_features(quality_records(run, point)) for point in run.plan.points} - {""}
    return " / ".join(distance_title(f) for f in sorted(features)) or "FD"


def join_features(records: list[Record]) -> str:
    """The features that some records were measured in."""
    return " / ".join(sorted({record.features for record in records}))

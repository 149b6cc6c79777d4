"""What an audit does beside calls of its network is foreseen too: searches of copies, and classifiers that learn."""

from __future__ import annotations

import dataclasses

import pytest

from leakbench.data.aligned_search import alignments
from leakbench.measurement.inputs import RunInputs
from leakbench.measurement.releases import ReleaseBuilder
from leakbench.metrics import utility
from leakbench.runner.estimate.time_estimate import TimeEstimate
from leakbench.runner.estimate.unit_times import NO_NETWORK
from leakbench.runner.plan import Plan
from leakbench.runtime.run_config import RunConfig
from leakbench.suite.load import load

SUITE = """
name = "searched"
dataset = "digits"
[split]
members = 60
nonmembers = 60
[network]
condition = "{condition}"
[[defense]]
name = "untrained"
[[attack]]
name = "{attack}"
[quality]
samples = 50
features = "pixels"
measures = [{measures}]
"""


@dataclasses.dataclass
class Units:
    """A machine on which two things take time."""

    classifier: float = 0.0
    product: float = 0.0
    features = reader = lpips = extra_features = 0.0

    def network(self, condition):
        return NO_NETWORK

    def given(self, work):
        return NO_NETWORK


@pytest.fixture
def foreseen(tmp_path):
    """foreseen(units, ...): seconds of the audit of a suite, and its inputs."""

    def estimate(units, attack="blind", measures="", condition="none"):
        path = tmp_path / "suite.toml"
        path.write_text(SUITE.format(attack=attack, measures=measures, condition=condition))
        builder = ReleaseBuilder(RunInputs(load(str(path)), RunConfig(tmp_path / "run", tmp_path / "cache")))
        (audit,) = (cell for cell in Plan(builder, "all").cells if cell.kind == "audit")
        return TimeEstimate(builder.inputs, units).estimate_cell(builder.inputs, audit), builder.inputs

    return estimate


@pytest.mark.parametrize(
    ("attack", "numbers"), [("nearest_copy", 64), ("transformed_copy", 2 * len(alignments(8, 8)) * 64)]
)
def test_a_search_compares_every_query_with_every_training_image(foreseen, attack, numbers):
    """Beside it stand flat fractions of a second, timed here and now."""
    seconds, inputs = foreseen(Units(product=1.0), attack)
    without, _ = foreseen(Units(), attack)
    parts = inputs.split.parts
    queries = 50 + len(parts["reference"]) + len(parts["nonmember"])
    assert seconds - without == pytest.approx(queries * len(inputs.split.train) * numbers, rel=1e-4)


def test_the_classifier_of_utility_is_foreseen_where_samples_have_labels(foreseen):
    asked = {"measures": '"utility"', "condition": "label"}
    without, _ = foreseen(Units(), **asked)
    images = utility._STEPS * 64
    assert foreseen(Units(classifier=1.0), **asked)[0] - without == pytest.approx(3 * images, rel=1e-4)
    assert foreseen(Units(classifier=1.0), condition="label")[0] < 10, "it was not asked for"

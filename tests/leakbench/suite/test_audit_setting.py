"""Settings that attacks of an audit get: the given model by its own schedule, the control by the suite's."""

import numpy as np
import pytest

from leakbench.data import Dataset
from leakbench.defenses.pipeline import Pipeline
from leakbench.defenses.untrained import Untrained
from leakbench.models.diffusion import Schedule
from leakbench.models.networks import NetworkSpec
from leakbench.models.pretrained.spec import PretrainedSpec
from leakbench.suite.audit_request.suite import _setting
from leakbench.suite.release_spec import ChainLink, ReleaseSpec

PARTS = np.array(["member", "member", "calibration_in", "calibration_out", "nonmember"])
DATA = Dataset("given", np.zeros((5, 4, 6, 1), dtype=np.uint8), labels=np.zeros(5, dtype=np.int64), split=PARTS)
NETWORK = NetworkSpec(kind="mlp", shape=(1, 4, 6), conditions=2)
SPEC = PretrainedSpec((1, 4, 6), NETWORK, Schedule.given(np.linspace(0.9, 0.1, 50)))


@pytest.mark.parametrize(
    ("defense", "timesteps", "condition"), [(Pipeline(path="somewhere"), 50, "label"), (Untrained(), 1000, "none")]
)
def test_the_control_has_the_suites_schedule_and_the_model_its_own(defense, timesteps, condition):
    point = ReleaseSpec(defense.name, (ChainLink(defense.name, defense),), "baseline")
    setting = _setting(point, DATA, SPEC)
    assert (setting.timesteps, setting.condition) == (timesteps, condition)
    assert (setting.images, setting.calibration, setting.pixels) == (3, 2, 24)

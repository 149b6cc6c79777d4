"""Private defenses name random streams by their parameters, in an order that stays: results of old runs repeat."""

import pytest
import torch

from leakbench.defenses._private import Mechanism
from leakbench.defenses.dp_lora import DPLoRA
from leakbench.defenses.dp_sgd import DPSGD
from leakbench.defenses.private_evolution import PrivateEvolution
from leakbench.defenses.private_selection import PrivateSelection
from leakbench.testing import toy_task

STEPS = '"steps":5000,"batch":null,"lr":0.0003,"ema":0.999,"clip":1.0,"noise_multiplicity":4'
BUDGET = '"noise_multiplier":null,"epsilon":10.0,"delta":null'
# As the commits before there were parameters of groups printed them, but for those of groups.
NAMES = [
    (DPSGD(), f'{{{STEPS},{BUDGET},"poisson":true}}'),
    (DPLoRA(), f'{{{STEPS},{BUDGET},"poisson":true,"rank":8}}'),
    (
        DPSGD(unit="group", group_size=2),
        f'{{{STEPS},{BUDGET},"poisson":true,"unit":"group","sampling":"example","group_size":2}}',
    ),
    (
        PrivateEvolution(),
        '{"iterations":10,"population":1000,"first_strength":1.0,"last_strength":0.4,"threshold":1.0,'
        f'"features":"pixels",{BUDGET}}}',
    ),
    (
        PrivateSelection(epsilon=10),
        f'{{"steps":20000,"batch":128,"lr":0.0002,"ema":0.999,"flip":false,"clusters":20,"share":0.2,{BUDGET}}}',
    ),
]


@pytest.mark.parametrize("defense, name", NAMES)
def test_parameters_name_streams_in_the_order_that_they_have_had(defense, name):
    assert (defense.own if isinstance(defense, DPSGD) else defense.model_dump_json()) == name


def test_the_coins_of_a_training_are_those_of_earlier_versions():
    """Numbers of the images of the first steps, as commit 7cee2ff drew them."""
    own = DPSGD(steps=6, noise_multiplier=1.0, batch=8, noise_multiplicity=2).own
    mechanism = Mechanism(toy_task(), 8 / 24, 2, 1.0, 1.0, True, 0, own)
    assert [index.tolist() for index in mechanism.sampled(torch.arange(2))] == [
        [2, 5, 10, 17],
        [0, 1, 8, 10, 11, 21, 22, 23],
    ]

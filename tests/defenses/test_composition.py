"""Any sensible pair composes, and the claims that survive are right: epsilon lives on while nobody reads members."""

from dataclasses import fields, replace

import pytest
import torch

from leakbench.api import AuditSetting
from leakbench.models.artefact_io import load_artefacts, save_artefacts
from leakbench.models.diffusion import Schedule
from leakbench.runtime import registry
from leakbench.testing.toys import COUNT, toy_task

DP = ("dp_sgd", {"steps": 4, "batch": 8, "noise_multiplier": 2.0})
FEW = {"steps": 4}
FORGET = {
    "erasediff": FEW,
    "finetune": FEW,
    "neg_grad": FEW,
    "salun": FEW,
    "siss": FEW,
    "sfron": FEW,
    "esd": FEW | {"walk": 2},
    "selective_amnesia": FEW | {"samples": 2, "fisher_samples": 1},
}


@pytest.fixture
def build(tmp_path):
    """build(condition, *(name, parameters)): the release of a chain, each link's artefacts through the disk."""

    def build(condition, *links):
        place = AuditSetting((), condition, "label", Schedule().T, COUNT)
        task, base, below = toy_task(condition, "label"), None, ()
        for number, (name, parameters) in enumerate(links):
            defense = registry.find("defenses", name)(**parameters)
            assert defense.skip(replace(place, chain=below)) is None
            mine = replace(task, base=base, chain=below, forget=task.forget if defense.forgets else None)
            folder = tmp_path / str(number)
            folder.mkdir(exist_ok=True)
            save_artefacts(defense.fit(mine), folder)
            base, below = defense.release(load_artefacts(folder, task.device), mine), (*below, defense)
        images = base.sample(4)
        assert images.shape == (4, 1, 8, 8) and bool(torch.isfinite(images).all())
        return base

    return build


@pytest.mark.parametrize(
    "links",
    [
        (DP, ("erasediff", FEW)),
        (("baseline", FEW), ("erasediff", FEW), ("cpsample", FEW)),
        (("ambient", FEW | {"p": 0.2}), ("erasediff", FEW), ("amg", {"scale": 0.1})),
        (("ambient", FEW | {"p": 0.2}), DP),
        (("dropout", FEW), ("salun", FEW), ("cpsample", FEW), ("reject_resample", {})),
        (("noise_data", FEW | {"level": 20}), ("cpsample", FEW), ("amg", {"scale": 0.1, "despecify": 0.5})),
        (DP, ("retrain", {}), ("finetune", FEW)),
    ],
    ids=lambda links: "-".join(name for name, _ in links),
)
def test_chains_compose(build, links):
    assert not build("label", *links).guarantee.epsilon


@pytest.mark.parametrize("below", ["ambient", "noise_data", "dp_sgd", "baseline"])
def test_attribute_switching_stands_on_every_training(build, below):
    parameters = {"ambient": FEW | {"p": 0.2}, "noise_data": FEW | {"level": 20}, "dp_sgd": DP[1], "baseline": FEW}
    release = build("attribute", (below, parameters[below]), ("attribute_switching", {"search_images": 4}))
    assert release.info["tau"] in release.info["tau_curve"]["tau"]
    assert len(release.info["tau_curve"]["criterion"]) == len(release.info["tau_curve"]["tau"])


@pytest.mark.parametrize("name", FORGET)
def test_epsilon_survives_unlearning_only_where_it_reads_no_member(build, name):
    claims = build("label", DP, (name, FORGET[name])).guarantee.to_json()
    if name in ("esd", "selective_amnesia"):
        assert claims["epsilon"] > 0 and claims["history"] == [[2.0, 8 / COUNT, 4]]
    else:
        assert claims == {"void": f"{name} trains on members without differential privacy"}


@pytest.mark.parametrize("name", ["cpsample", "amg", "reject_resample"])
def test_epsilon_is_void_above_samplers_that_read_members_and_stays_void(build, name):
    parameters = {"cpsample": FEW, "amg": {}, "reject_resample": {}}[name]
    once = build("attribute", DP, (name, parameters))
    assert set(once.guarantee.to_json()) == {"void"} and name in once.guarantee.to_json()["void"].lower()
    if name != "reject_resample":
        twice = build("attribute", DP, (name, parameters), ("attribute_switching", {"search_images": 4}))
        assert twice.guarantee == once.guarantee


def test_a_gate_below_another_counts_as_well(build):
    """Beside the gates of the inner release, asked again at the states of the outer walk."""
    release = build("none", ("baseline", FEW), ("cpsample", FEW | {"alpha": 0.5}), ("amg", {"scale": 0.1}))
    inner, walk, seen = release.base, release.schedule.timesteps(), []
    release.fired.clear(), inner.fired.clear()
    release.sample(6)
    counted = release.facts()

    class Watched(type(release)):
        def guided(self, x, t, label=None):
            seen.append(float(inner.guided(x, t, label)[1][:6].float().mean()))
            return super().guided(x, t, label)

    Watched(**{f.name: getattr(release, f.name) for f in fields(release)}).generate(torch.arange(6))
    expected = {str(t): pytest.approx(rate) for t, rate in zip(walk, seen, strict=True)}
    assert counted["gate_rate_by_t_below"] == [expected] and max(seen) > 0
    assert counted["gate_rate_by_t"].keys() == expected.keys()


def test_what_claims_nothing_voids_nothing(build):
    assert build("none", ("baseline", FEW), ("cpsample", FEW)).guarantee.to_json() == {}


def test_epsilon_survives_attribute_switching_and_retraining_makes_its_own(build):
    plain = build("attribute", DP)
    assert build("attribute", DP, ("attribute_switching", {"search_images": 4})).guarantee == plain.guarantee
    again = build("label", DP, ("retrain", {})).guarantee.to_json()
    assert again["epsilon"] > 0 and again["sampling_rate"] == 8 / (COUNT // 2)  # half are forgotten


def test_private_training_of_what_read_nothing_costs_what_it_costs_alone(build):
    alone, above = (build("none", *chain, DP).guarantee.to_json() for chain in ((), (("untrained", {}),)))
    assert above == alone
    twice = build("none", DP, DP).guarantee.to_json()
    assert twice["epsilon"] > alone["epsilon"] and len(twice["history"]) == 2
    assert build("none", ("baseline", FEW), DP).guarantee.to_json() == {
        "void": "its base read the images without differential privacy"
    }


def test_no_two_private_trainings_share_their_noise(build):
    """With one z in both, 2 g_1 - g_2 of multipliers 1 and 2 would be the gradient without noise."""
    from leakbench.defenses._private import Mechanism

    task = toy_task()
    like = [torch.zeros(500)]
    made = [Mechanism(task, 0.5, 1, 1.0, noise, True, stage, own)
            for noise, stage, own in ((1.0, 0, "a"), (2.0, 0, "a"), (1.0, 1, "a"), (1.0, 0, "b"))]  # fmt: skip
    z = [one.z(like, 0)[0] for one in made] + [made[0].z(like, 1)[0]]
    between = torch.corrcoef(torch.stack(z)) - torch.eye(len(z))
    assert between.abs().max() < 0.2 and torch.equal(made[0].z(like, 0)[0], z[0])

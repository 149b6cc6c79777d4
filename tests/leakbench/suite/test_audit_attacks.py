"""The attacks of an audit: the set that is the default, sets and names that join, and what a given model rules out."""

import numpy as np
import pytest

from leakbench.api import Access
from leakbench.runtime import registry
from leakbench.suite.audit_request.attacks import Reach, build_entries
from leakbench.suite.audit_request.suite import Request, build_audit_suite
from leakbench.suite.ensemble import format_ensemble, read_frozen_attacks
from leakbench.suite.merge import merge_suites


@pytest.fixture
def request_of(tmp_path):
    """request_of(**changes): the request of an audit of a small DDPM pipeline that diffusers made."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    types = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    unet = UNet2DModel(
        sample_size=16, in_channels=1, out_channels=1, block_out_channels=(8, 8), norm_num_groups=4, **types
    )
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(tmp_path / "pipeline")
    sides = {}
    for number, (side, count) in enumerate({"members": 50, "nonmembers": 70}.items()):
        images = np.random.default_rng(number).integers(0, 256, (count, 16, 16), dtype=np.uint8)
        np.savez(tmp_path / f"{side}.npz", images=images)
        sides[side] = f"npz:{tmp_path / side}.npz"
    model = {"name": "pipeline", "path": str(tmp_path / "pipeline")}
    return lambda **changes: Request("mine", model, **sides, **changes)


@pytest.mark.parametrize("access", [Access.SAMPLES, Access.WEIGHTS])
@pytest.mark.parametrize("choice", ["all", "strongest", "standard"])
def test_chosen_attacks_need_neither_other_models_nor_more_access(choice, access):
    entries = build_entries(choice, Reach(access))
    for entry in entries:
        kind = registry.find("attacks", entry["name"])
        attack = kind(**{key: value for key, value in entry.items() if key not in ("name", "id")})
        assert attack.auxiliary_models() == () and kind.access <= access
    names = {entry["name"] for entry in entries}
    assert {"blind", "gan_leaks", "nearest_copy"} <= names
    assert ("loss" in names) == (access is Access.WEIGHTS)


def test_an_audit_runs_the_standard_set_by_default_and_says_so(request_of):
    """Adaptive attacks of the set join where the defense that they know is asked for."""
    suite, left_out = build_audit_suite(request_of(), ())
    frozen = {entry.get("id", entry["name"]) for entry in read_frozen_attacks("standard", "a test")}
    missing = frozen - set(suite.attacks)
    assert set(suite.attacks) < frozen and all(name.startswith(("adaptive", "shipped")) for name in missing)
    assert not left_out and format_ensemble(suite.file) == "standard 1, as far as it applies"
    guarded, _ = build_audit_suite(request_of(defenses=("cpsample",)), ())
    assert {"adaptive_cpsample", "shipped_classifier"} <= set(guarded.attacks)


def test_names_join_a_set_and_what_stands_twice_is_run_once():
    reach = Reach(Access.WEIGHTS)
    standard = build_entries("standard", reach)
    assert build_entries("standard,loss,likelihood", reach) == [*standard, {"name": "likelihood"}]
    both = build_entries("standard,strongest", reach)
    assert both[: len(standard)] == standard and {"secmi", "pian"} <= {entry["name"] for entry in both}


SEQUENCES = {
    "more and more": (["loss", "standard", "strongest", "all"], ""),
    "less and less": (["all", "strongest", "standard", "loss"], ""),
    "by name": (["standard", "loss", "standard"], "standard 1, as far as it applies"),
    "sets": (["loss", "standard", "strongest", "pia"], "strongest 1, changed"),  # without shadow models
}


@pytest.mark.parametrize("case", SEQUENCES)
def test_audits_that_follow_one_another_join_and_keep_the_name_of_the_larger_set(case, request_of):
    choices, expected = SEQUENCES[case]
    merged, *others = (build_audit_suite(request_of(attacks=choice), ())[0] for choice in choices)
    names = set(merged.attacks)
    for suite in others:
        merged, names = merge_suites(merged, suite), names | set(suite.attacks)
    assert set(merged.attacks) == names and format_ensemble(merged.file) == expected
    assert (merged.attacks["loss"].t, merged.attacks["loss"].draws) == (100, 4)
    alone, _ = build_audit_suite(request_of(attacks=choices[0]), ())
    assert alone.attacks["loss"] == merged.attacks["loss"]


def test_a_defense_is_put_around_an_audited_model_afterwards(request_of):
    plain, _ = build_audit_suite(request_of(), ())
    guarded, _ = build_audit_suite(request_of(attacks="loss", defenses=("cpsample",)), ())
    merged = merge_suites(plain, guarded)
    assert [point.label for point in merged.points] == ["model", "cpsample", "untrained"]
    assert set(merged.attacks) == set(plain.attacks)

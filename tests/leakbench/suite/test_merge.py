"""Two suites of one name: what can be joined, and what keeps them apart, by the keys of the file."""

from __future__ import annotations

import pytest

from leakbench.suite.load import load
from leakbench.suite.merge import OtherSettings, merge_suites


@pytest.fixture
def suite(tmp_path, tiny_text):
    """suite(*(old, new)): the tiny suite with these words changed."""

    def build(*changes, more="", overrides=()):
        text = tiny_text + more
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "one.toml").write_text(text)
        return load(str(tmp_path / "one.toml"), tuple(overrides))

    return build


NORM = '\n[[attack]]\nname = "secmi"\n'
NO_PIA = ('[[attack]]\nname = "pia"\n', "")


def labels(suite):
    return [point.label for point in suite.points]


def test_one_that_asks_for_all_is_taken_as_it_is(suite):
    old, asked = suite(), suite(more=NORM)
    assert merge_suites(old, asked) is asked
    assert merge_suites(old, suite()) == old


def test_attacks_points_and_seeds_of_both_stand_in_the_older_order(suite):
    old = suite(("[0.25, 0.5]", "[0.5, 0.25]"))
    asked = suite(NO_PIA, ("seeds = [0]", "seeds = [3]"), ("[0.25, 0.5]", "[0.1, 0.5]"), more=NORM)
    merged = merge_suites(old, asked)
    assert list(merged.attacks) == ["loss", "pia", "nearest_copy", "secmi"]
    assert labels(merged) == ["baseline", *(f"cpsample alpha={value}" for value in (0.5, 0.25, 0.1))]
    assert merged.file.seeds == (0, 3)
    assert merge_suites(merged, asked) == merged and merge_suites(merged, old) == merged


def test_a_default_that_is_spelled_out_is_no_difference(suite):
    spelled = ("steps = 60", 'steps = 60\nid = "baseline"\nrole = "baseline"\nema = 0.999')
    asked = suite(('name = "pia"', 'name = "pia"\nid = "pia"\nt = 200'), spelled)
    assert type(asked.points[0].chain[0].defense).model_fields["ema"].default == 0.999
    assert merge_suites(suite(), asked) is asked


def test_restrictions_of_an_attack_are_joined_and_none_is_the_widest(suite):
    on_base, on_both = (("pia", f'pia"\non = {value}\n#') for value in ('["baseline"]', '["cpsample"]'))
    joined = merge_suites(suite(on_base), suite(on_both))
    assert joined.on == {"pia": ("baseline", "cpsample")}
    assert merge_suites(suite(), suite(on_base)).on == merge_suites(suite(on_base), suite()).on == {}


APART = {
    "data set": (["dataset=fashion-mnist"], ["dataset: digits -> fashion-mnist"]),
    "split and sampler": (
        ["split.members=41", "sampler.steps=6"],
        ["split.members: 40 -> 41", "sampler.steps: 5 -> 6"],
    ),
    "network": (["network.width=16"], ["network.width: 32 -> 16"]),
    "training": (["defense.baseline.steps=61"], ["defense.baseline.steps: 60 -> 61"]),
    "sweep": (["defense.cpsample.alpha=0.25"], ["defense.cpsample.alpha: [0.25, 0.5] -> 0.25"]),
    "role": (['defense.cpsample.role="control"'], ["defense.cpsample.role: defense -> control"]),
    "samples": (["quality.samples=61"], ["quality.samples: 60 -> 61"]),
    "forget": (["forget.label=3"], ["forget.label: none -> 3"]),
}


@pytest.mark.parametrize("case", APART)
def test_other_settings_are_named_with_both_values(case, suite):
    overrides, expected = APART[case]
    with pytest.raises(OtherSettings) as caught:
        merge_suites(suite(), suite(overrides=overrides))
    assert {*expected} <= {*caught.value.differences}
    assert case == "forget" or len(caught.value.differences) == len(expected)


def test_what_records_do_not_follow_from_is_that_of_the_last(suite):
    asked = suite(NO_PIA, ("seeds = [0]", 'seeds = [0]\nsummary = "new"\nheadline = "tpr@fpr=0.01"'))
    merged = merge_suites(suite(), asked)
    assert (merged.file.summary, merged.file.headline) == ("new", "tpr@fpr=0.01") and "pia" in merged.attacks


def test_sweeps_that_would_multiply_into_points_that_nobody_asked_for_are_named(suite):
    old = suite(("alpha = [0.25, 0.5]", "alpha = [0.25]\nscale = [1.0, 2.0]"))
    asked = suite(("alpha = [0.25, 0.5]", "alpha = [0.5]\nscale = [1.0]"))
    with pytest.raises(OtherSettings, match=r"defense.cpsample.alpha: \[0.25\] -> \[0.5\]"):
        merge_suites(old, asked)


def test_an_attack_with_other_parameters_takes_its_place_unless_it_is_of_a_frozen_set(suite):
    other = ('name = "pia"', 'name = "pia"\nt = 77')
    assert merge_suites(suite(), suite(other)).attacks["pia"].t == 77
    frozen = ("seeds = [0]", 'seeds = [0]\nversion = "1"')
    with pytest.raises(OtherSettings) as caught:
        merge_suites(suite(frozen), suite(frozen, other))
    assert caught.value.differences == ("attack.pia.t: 200 -> 77",)


def test_a_frozen_set_of_attacks_stands_first(suite):
    from leakbench.suite.ensemble import format_ensemble

    own = suite()
    frozen = suite(
        ("seeds = [0]\n", 'seeds = [0]\nensemble = "strongest"\n'), ('[[attack]]\nname = "loss"\n', ""), NO_PIA
    )
    merged = merge_suites(own, frozen)
    assert format_ensemble(merged.file).startswith("strongest 3") and "changed" not in format_ensemble(merged.file)

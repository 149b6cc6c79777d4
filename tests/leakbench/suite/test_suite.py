"""A suite file -> the plan: sweeps, chains, --set, and one clear line for whatever is wrong."""

from __future__ import annotations

import pytest

from leakbench.runtime.errors import UsageError
from leakbench.suite.load import load


@pytest.fixture
def suite(tmp_path):
    """suite(text, *overrides): the suite of a text, on top of a name and a data set."""

    def write(text, *overrides):
        path = tmp_path / "mine.toml"
        path.write_text('name = "mine"\ndataset = "digits"\n' + text)
        return load(str(path), overrides)

    return write


@pytest.fixture
def refused(suite):
    """refused(text, *overrides): the one line with which a suite is refused."""

    def message(text, *overrides):
        with pytest.raises(UsageError) as caught:
            suite(text, *overrides)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return message


BASELINE = '[[defense]]\nname = "baseline"\n'
CPSAMPLE = '[[defense]]\nname = "cpsample"\nbase = "baseline"\n'
PIA = '[[attack]]\nname = "pia"\n'


def labels(suite):
    return [point.label for point in suite.points]


def test_the_built_in_quick_suite_has_four_points_of_cpsample_and_its_controls():
    quick = load("quick")
    assert labels(quick).count("baseline") == 1
    assert sum(point.id == "cpsample" for point in quick.points) >= 4
    assert "untrained" in {point.id for point in quick.points if point.role == "control"}
    assert "reject_resample" in labels(quick)
    assert set(quick.attacks) >= {"blind", "loss", "secmi", "pia"}
    assert len(quick.file.seeds) == 2
    assert quick.file.split.members >= 150 and quick.file.split.nonmembers >= 300
    assert quick.file.quality.samples == 1000


def test_a_sweep_is_the_product_of_its_lists_in_the_files_order(suite):
    swept = suite(BASELINE + CPSAMPLE + "alpha = [0.5, 0.1]\nscale = [1.0, 2.0, 3.0]\n")
    pairs = [(p.chain[-1].defense.alpha, p.chain[-1].defense.scale) for p in swept.points[1:]]
    assert pairs == [(a, s) for a in (0.5, 0.1) for s in (1.0, 2.0, 3.0)]
    assert labels(swept)[1] == "cpsample alpha=0.5 scale=1.0"
    assert len(set(labels(swept))) == 7


def test_sweeps_multiply_along_the_chain(suite):
    chained = suite(
        '[[defense]]\nname = "baseline"\nsteps = [10, 20]\n'
        + CPSAMPLE
        + "alpha = [0.1, 0.5]\n"
        + '[[defense]]\nid = "on-top"\nname = "reject_resample"\nbase = "cpsample"\ntries = [2, 3]\n'
    )
    assert [sum(p.id == name for p in chained.points) for name in ("baseline", "cpsample", "on-top")] == [2, 4, 8]
    deepest = [p for p in chained.points if p.id == "on-top"]
    seen = {(p.parameters["baseline.steps"], p.parameters["cpsample.alpha"], p.parameters["tries"]) for p in deepest}
    assert seen == {(s, a, t) for s in (10, 20) for a in (0.1, 0.5) for t in (2, 3)}
    assert [link.id for link in deepest[0].chain] == ["baseline", "cpsample", "on-top"]
    assert len(set(labels(chained))) == 14


def test_ids_tell_two_entries_of_one_defense_apart(suite):
    both = suite(BASELINE + CPSAMPLE + CPSAMPLE + 'id = "cp-strong"\nrole = "control"\nalpha = 0.5\n' + PIA)
    assert [(p.id, p.role) for p in both.points] == [
        ("baseline", "baseline"),
        ("cpsample", "defense"),
        ("cp-strong", "control"),
    ]
    assert list(both.attacks) == ["pia"]


REFUSED = {
    "unknown key": (BASELINE + "stepz = 3\n", ["mine.toml", "baseline", "'stepz'", "'steps'"]),
    "unknown table": ("[splitt]\nmembers = 3\n" + BASELINE, ["mine.toml", "'splitt'", "'split'"]),
    "unknown key in a table": ("[split]\nmember = 3\n" + BASELINE, ["mine.toml", "split.member", "'members'"]),
    "unknown defense": ('[[defense]]\nname = "basline"\n', ["mine.toml", "'basline'", "'baseline'"]),
    "unknown attack": (BASELINE + '[[attack]]\nname = "pja"\n', ["mine.toml", "'pja'", "'pia'"]),
    "attack key": (BASELINE + PIA + "tt = 3\n", ["mine.toml", "pia", "'tt'", "'t'"]),
    "an attack has no base": (BASELINE + PIA + 'base = "baseline"\n', ["mine.toml", "pia", "'base'"]),
    "out of range": (BASELINE + CPSAMPLE + "alpha = 0.7\n", ["mine.toml", "cpsample", "alpha = 0.7", "0.5"]),
    "out of range in a sweep": (BASELINE + CPSAMPLE + "alpha = [0.1, 0.7]\n", ["cpsample", "alpha = 0.7", "0.5"]),
    "attack out of range": (BASELINE + PIA + "t = 1000\n", ["mine.toml", "pia", "t = 1000", "less than 1000"]),
    "infinite": (BASELINE + CPSAMPLE + "scale = inf\n", ["cpsample", "scale = inf", "finite"]),
    "too few samples": ("[quality]\nsamples = 1\n" + BASELINE, ["mine.toml", "quality.samples = 1", "20"]),
    "text for a number": ('[split]\nmembers = "many"\n' + BASELINE, ["split.members = 'many'", "integer"]),
    "number for a table": ("split = 3\n" + BASELINE, ["mine.toml", "split = 3", "table"]),
    "empty sweep": (BASELINE + CPSAMPLE + "alpha = []\n", ["mine.toml", "cpsample", "alpha = []", "nothing"]),
    "a value twice": (BASELINE + CPSAMPLE + "alpha = [0.1, 0.1]\n", ["cpsample", "alpha", "twice"]),
    "no defense": ("", ["mine.toml", "'defense'", "missing"]),
    "no seeds": ("seeds = []\n" + BASELINE, ["mine.toml", "seeds"]),
    "a seed twice": ("seeds = [1, 1]\n" + BASELINE, ["mine.toml", "seeds = [1, 1]", "twice"]),
    "a negative seed": ("seeds = [-1]\n" + BASELINE, ["mine.toml", "seeds.0 = -1", "0"]),
    "duplicate defense": (BASELINE + BASELINE, ["mine.toml", "'baseline'", "twice", "`id`"]),
    "duplicate attack": (BASELINE + PIA + PIA, ["mine.toml", "'pia'", "twice", "`id`"]),
    "id with a slash": (BASELINE + 'id = "a/b"\n', ["mine.toml", "'a/b'", "letters"]),
    "the name of quality rows": (BASELINE + PIA + 'id = "quality"\n', ["mine.toml", "'quality'"]),
    "nameless": ("[[defense]]\nsteps = 3\n", ["mine.toml", "[[defense]] number 1", "'name'"]),
    "missing base": ('[[defense]]\nname = "cpsample"\n', ["mine.toml", "'cpsample'", "'base'"]),
    "unknown base": (BASELINE + '[[defense]]\nname = "cpsample"\nbase = "basline"\n', ["'basline'", "'baseline'"]),
    "list of bases": (BASELINE + '[[defense]]\nname = "cpsample"\nbase = ["baseline"]\n', ["base", "no such id"]),
    "unknown role": (BASELINE + 'role = "hero"\n', ["mine.toml", "role = 'hero'", "control"]),
    "not TOML": ("name name\n", ["mine.toml", "not a TOML file", "line 3"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_one_line_that_names_file_key_value_and_what_would_be_right(refused, case):
    text, words = REFUSED[case]
    message = refused(text)
    for word in words:
        assert word in message


def test_a_loop_of_bases_is_named_in_its_order(refused):
    message = refused(
        CPSAMPLE.replace("baseline", "two") + 'id = "one"\n' + CPSAMPLE.replace("baseline", "one") + 'id = "two"\n'
    )
    assert "a loop: one -> two -> one" in message


def test_an_unknown_data_set_is_refused_with_the_nearest_name(refused):
    message = refused(BASELINE, "dataset=digitz")
    for word in ("mine.toml", "dataset", "'digitz'", "'digits'"):
        assert word in message


def test_an_unknown_suite_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match="unknown suite 'quikc'; did you mean 'quick'"):
        load("quikc")
    with pytest.raises(UsageError, match=r"suite 'none\.toml': no such file"):
        load("none.toml")


def test_set_reaches_every_part_of_the_file(suite):
    text = "[split]\nmembers = 50\n" + BASELINE + CPSAMPLE + 'id = "cp"\n' + PIA
    changed = suite(
        text,
        "defense.cp.alpha=0.1",
        "split.members=60",
        "dataset=npz:some.npz",
        "seeds=[4, 5]",
        "quality.samples=40",
        "attack.pia.t=7",
        "sampler.steps=9",
    )
    assert changed.points[1].chain[-1].defense.alpha == 0.1
    assert changed.file.split.members == 60
    assert changed.file.dataset == "npz:some.npz"
    assert changed.file.seeds == (4, 5)
    assert changed.file.quality.samples == 40
    assert changed.attacks["pia"].t == 7
    assert changed.file.sampler.steps == 9


def test_set_can_make_a_sweep(suite):
    assert labels(suite(BASELINE + CPSAMPLE, "defense.cpsample.alpha=[0.1, 0.2]"))[1:] == [
        "cpsample alpha=0.1",
        "cpsample alpha=0.2",
    ]


@pytest.mark.parametrize(
    "override, words",
    [
        ("defense.cpsampel.alpha=0.1", ["'cpsampel'", "'cpsample'"]),
        ("defense.cpsample=0.1", ["defense.cpsample", "alpha"]),
        ("defense.cpsample.alpa=0.1", ["'alpa'", "'alpha'"]),
        ("defense.cpsample.alpha=2", ["alpha = 2", "0.5"]),
        ("defense.cpsample.alpha=[]", ["alpha = []", "nothing"]),
        ("split.menbers=4", ["'split.menbers'", "'members'"]),
        ("name.x=4", ["'name'", "not a table"]),
        ("alpha", ["'alpha'", "PATH=VALUE"]),
        ("=3", ["PATH=VALUE"]),
    ],
)
def test_a_wrong_set_is_one_line_that_says_what_would_be_right(refused, override, words):
    message = refused(BASELINE + CPSAMPLE, override)
    for word in words:
        assert word in message


def test_set_is_part_of_the_identity_unless_it_changes_nothing(suite):
    text = BASELINE + CPSAMPLE + "alpha = 0.25\n" + PIA
    plain = suite(text).identity
    assert suite(text).identity == plain
    assert suite(text, "defense.cpsample.alpha=0.25").identity == plain
    changes = ["defense.cpsample.alpha=0.3", "split.seed=1", "seeds=[1]", "quality.samples=50", "attack.pia.t=7"]
    assert len({suite(text, change).identity for change in changes} | {plain}) == len(changes) + 1

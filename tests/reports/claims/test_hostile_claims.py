"""Whatever a file of claims holds, `check claims` gives a verdict, or one clear line and exit code 2."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

WORDS = ["baseline", "cpsample", "pia", "strongest", "membership", "quality", "auc", "tpr@fpr=0.1", "copy_rate"]
WORDS += ["frechet_heldout", "DENOISER", "WEIGHTS", "NONE", "<script>alert(1)</script>", "]]>&amp;", "../../etc/passwd"]
WORDS += ["\x1b[31mred", "a\nb", "%0A::error::x", "a,b:c|d", "tpr@fpr=abc", "tpr@fpr=0", "\u202eback", "\ufffe", "\x85"]
KEYS = ["name", "defense", "parameters", "attack", "access", "metric", "at_most", "at_least", "within", "against"]
KEYS += ["confidence", "at_lest", "<b>", "\x1b[2J", ""]

numbers = st.one_of(
    st.floats(0, 1),
    st.floats(),
    st.integers(-(10**400), 10**400),
    st.sampled_from([0.0, -0.0, 5e-324, 1e308, 0.95, 0.9999999999999999, int("9" * 4000)]),
)
words = st.sampled_from(WORDS) | st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)
leaves = st.one_of(numbers, words, st.booleans(), st.just("1979-05-27T07:32:00Z"))
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=5
)
likely = st.fixed_dictionaries(
    {"name": words, "defense": st.sampled_from(["baseline", "cpsample"]), "attack": st.sampled_from(WORDS)},
    optional={
        "metric": st.sampled_from(WORDS),
        "access": st.sampled_from(WORDS),
        "against": st.just("baseline"),
        "at_most": numbers,
        "at_least": numbers,
        "within": st.lists(numbers, max_size=3),
        "confidence": numbers,
    },
)
claims = st.one_of(
    likely, likely, st.builds(lambda a, b: a | b, likely, st.dictionaries(st.sampled_from(KEYS), values, max_size=2))
)
files = st.one_of(
    st.lists(claims, min_size=1, max_size=3).map(lambda some: "\n".join(f"[[claim]]\n{lines(one)}" for one in some)),
    claims.map(lambda one: f"{lines(one)}\n[[claim]]\nname = 'a'"),
    st.text(max_size=60),
)


def quoted(text):
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}" for c in text) + '"'


def written(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(k)} = {written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        return value if value.startswith("1979") else quoted(value)
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)


def lines(table):
    return "\n".join(f"{quoted(key)} = {written(value)}" for key, value in table.items())


def check(leakbench, run, folder, text):
    """Judges a file, and holds what is true of every outcome. Returns the exit code."""
    (folder / "claims.toml").write_bytes(text.encode())
    junit = folder / "claims.xml"
    junit.unlink(missing_ok=True)
    done = leakbench("check", "claims", folder / "claims.toml", run.path, "--junit", junit)
    assert done.code in (0, 1, 2)
    if done.code == 2:
        assert done.out == "" and done.err.startswith("leakbench: ") and done.err.endswith("\n")
        assert done.err[:-1].isprintable() and len(done.err) < 2000
        return 2
    assert done.err == "" and all(line.isprintable() for line in done.out.splitlines())
    cases = len(ElementTree.parse(junit).getroot())
    said = done.out.splitlines()
    notes = [line.startswith("::") for line in said]
    assert notes == sorted(notes) and sum(notes) == cases
    assert sum(line.startswith(("holds ", "broken ", "undecided ")) for line in said) == cases
    assert all("::" not in line.split(" ", 1)[1].split("::", 1)[0] for line in said[-cases:])
    return done.code


@pytest.fixture(scope="module")
def small(make_run, tmp_path_factory):
    """A run of which a claim can be about two points."""
    names = ("baseline", "cpsample alpha=0.25")
    return make_run(
        tmp_path_factory.mktemp("small"), seeds=(0,), images=False, keep=lambda record: record.point in names
    )


@pytest.fixture
def in_ci(monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=files)
def test_any_file_is_judged_or_refused_in_one_line(leakbench, small, tmp_path, in_ci, text):
    check(leakbench, small, tmp_path, text)


GOOD = '[[claim]]\nname="{n}"\ndefense="baseline"\nattack="pia"\nat_most=0.{n}\n'
COPIES = '[[claim]]\nname="x"\ndefense="baseline"\nattack="nearest_copy_pixels"\nmetric="copy_rate"\nat_most=0.2\n'


@pytest.mark.parametrize(
    "text, code",
    [
        ("[" * 5000, 2),
        ("a = " + "[" * 5000, 2),
        ("[[claim]]\n" + "a." * 3000 + "b = 1", 2),
        (GOOD.format(n=10).replace("0.10", "9" * 5000), 2),
        (GOOD.format(n=10).replace("0.10", "nan"), 2),
        (GOOD.format(n=10) + "confidence = 0.9999999999999999", 2),
        ("[[claim]]\n" + "k" * 10**5 + " = 1", 2),
        ("[[claim]]\nname = '" + "n" * 10**5 + "'", 2),
        ("\x00", 2),
        (GOOD.format(n=10).replace("0.10", "1e-320"), 1),
        (COPIES.replace("0.2", "1e-320"), 1),
        (COPIES, 0),
        ("".join(GOOD.format(n=n) for n in range(50000, 60000)), 1),  # 10,000 claims
    ],
    ids=range(13),
)
def test_files_that_were_made_to_break_it(leakbench, small, tmp_path, in_ci, text, code):
    assert check(leakbench, small, tmp_path, text) == code

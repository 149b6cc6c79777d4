"""Claims are judged by intervals, two-sidedly, and never on what says nothing; a wrong file is one line."""

from __future__ import annotations

from math import inf
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from leakbench.reports.claims.claim import Claim, read_claims
from leakbench.reports.claims.evidence import join_seeds
from leakbench.reports.claims.judge import decide, judge_claim, judge_strongest
from leakbench.reports.claims.strongest import Together
from leakbench.reports.claims.words import (
    explain,
    format_annotations,
    format_counts,
    format_judgement,
    format_junit,
    format_markdown,
)
from leakbench.reports.reading.family import find_corrected
from leakbench.reports.reading.tradeoff import tradeoff_table
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder
from leakbench.runtime.errors import UsageError
from leakbench.statistics import Family, auc, delong_pair
from leakbench.statistics.auc import influence
from leakbench.statistics.groups import Sides

BASE = {"name": "a", "defense": "baseline", "attack": "pia", "access": "DENOISER"}


def claim(**more):
    return Claim(**{**BASE, **more})


@pytest.fixture
def sound(make_run, tmp_path):
    return make_run(tmp_path, seeds=(0,), images=False)


def only(run, **more):
    (found,) = judge_claim(run, claim(**more))
    return found


def scores(run, point, attack, access):
    (record,) = [r for r in run.records if (r.point, r.attack, r.access) == (point, attack, access)]
    arrays = run.arrays(record)
    return arrays["member_scores"], arrays["nonmember_scores"]


@pytest.mark.parametrize(
    "bounds, outcome",
    [
        ({"at_most": 0.99}, "holds"),
        ({"at_most": 0.6}, "broken"),
        ({"at_most": 0.91}, "undecided"),
        ({"at_least": 0.8}, "holds"),
        ({"at_least": 0.91}, "undecided"),
        ({"at_least": 0.97}, "broken"),
        ({"within": (0.8, 0.99)}, "holds"),
        ({"within": (0.5, 0.6)}, "broken"),
        ({"within": (0.91, 0.99)}, "undecided"),
    ],
)
def test_the_interval_decides_and_never_the_value(sound, bounds, outcome):
    found = only(sound, **bounds)
    expected = auc(*scores(sound, "baseline", "pia", "DENOISER"))
    assert (found.found.value, found.found.low, found.found.high) == (expected.value, expected.low, expected.high)
    assert found.outcome == outcome and expected.low < 0.91 < expected.high


def test_the_margin_of_a_broken_claim_is_that_of_the_nearer_end(sound):
    found = only(sound, at_most=0.6)
    assert found.outcome == "broken" and found.margin == pytest.approx(0.6 - found.found.low)
    turned = only(sound, at_most=None, at_least=0.99)
    assert turned.outcome == "broken" and turned.margin == pytest.approx(turned.found.high - 0.99)


def test_more_confidence_is_a_wider_interval(sound):
    widths = [(f := only(sound, at_most=0.99, confidence=level).found).high - f.low for level in (0.5, 0.9, 0.99)]
    assert widths == sorted(widths)


@pytest.mark.parametrize("n", [60, 300, 3000])
@pytest.mark.parametrize("truth", [0.55, 0.98])
def test_of_a_truth_on_the_bound_holds_is_said_in_at_most_5_of_100_runs(n, truth):
    """Scores of two normal distributions, whose AUC is known; 1,000 runs."""
    rng, distance = np.random.default_rng(n), np.sqrt(2) * stats.norm.ppf(truth)
    runs = [auc(rng.normal(distance, 1, n), rng.normal(size=n)) for _ in range(1000)]
    for low, high in ((-inf, truth), (truth, inf)):
        assert sum(decide(found, low, high) == "holds" for found in runs) <= 50
        assert sum(decide(found, low, high) == "broken" for found in runs) <= 50


@pytest.mark.parametrize("bound", ["at_most", "at_least"])
@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_of_the_strongest_with_the_truth_on_the_bound_holds_is_said_in_at_most_5_of_100_runs(bound, alike):
    """Three attacks of one true AUC, which share a part of their scores, by the intervals of a family; 400 runs."""
    rng, n, truth, wrong = np.random.default_rng(9), 100, 0.7, 0
    for _ in range(400):
        sides = np.sqrt(alike) * rng.normal(size=(2, 1, n)) + np.sqrt(1 - alike) * rng.normal(size=(2, 3, n))
        sides[0] += np.sqrt(2) * stats.norm.ppf(truth)
        rows = Sides(np.arange(n), n + np.arange(n), 2 * n)
        level = Family([influence(a, b, rows) for a, b in zip(*sides, strict=True)]).level
        each = {str(i): join_seeds([auc(*sides[:, i], level=level)], 0.95, "auc") for i in range(3)}
        strongest = max(each.values(), key=lambda one: one.joined.low)
        found = Together("strongest", strongest, each, level)
        judged = judge_strongest(claim(attack="strongest", **{bound: truth}), "baseline", found, ["pia, DENOISER"])
        wrong += judged.outcome == "holds"
    assert wrong <= 20


def test_an_attack_whose_members_score_lower_does_not_pass_as_harmless(sound):
    """Raw AUC 0.09: two-sided that is 0.91, and "at most 0.6" is broken."""
    (record,) = [r for r in sound.records if (r.point, r.attack, r.access) == ("baseline", "pia", "DENOISER")]
    turned = {name: -array for name, array in sound.arrays(record).items()}
    save_record(sound.path, record, turned)
    assert only(RunFolder(sound.path), at_most=0.6).outcome == "broken"
    known = record.model_copy(update={"info": record.info | {"orientation": -1.0}})
    save_record(sound.path, known, turned)
    assert only(RunFolder(sound.path), at_most=0.6).outcome == "broken"
    assert only(RunFolder(sound.path), at_least=0.8).outcome == "holds"


def test_a_difference_is_paired_on_the_same_images(sound):
    (found,) = judge_claim(sound, claim(defense="reject_resample", against="baseline", at_most=0.03))
    assert found.found.value == 0 and found.outcome == "holds"  # it answers as the baseline does
    (found,) = judge_claim(
        sound, claim(defense="cpsample", parameters={"alpha": 0.5}, against="baseline", at_most=-0.1)
    )
    sides = [scores(sound, point, "pia", "DENOISER") for point in ("cpsample alpha=0.5", "baseline")]
    expected = delong_pair(*sides[0], *sides[1]).difference
    assert (found.found.value, found.found.low) == (expected.value, expected.low) and found.outcome == "holds"


def joint(run, point, access="DENOISER", level=0.95):
    """The corrected AUCs of the release with one seed, by attack."""
    some = [r for r in run.records if r.point == point and r.access == access and r.family == "membership"]
    return {record.attack: find_corrected(run, record, level).auc for record in some}


@pytest.mark.parametrize("seeds", [(0,), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("metric", ["auc", "tpr@fpr=0.1"])
def test_the_strongest_has_the_value_and_the_interval_of_the_tables(make_run, tmp_path, seeds, metric):
    run = make_run(tmp_path, seeds=seeds, images=False)
    table = tradeoff_table(run).set_index("point")
    for bound in ({"at_most": 0.99}, {"at_least": 0.01}):
        for level in ("DENOISER", "WEIGHTS"):
            asked = {"defense": "cpsample", "attack": "strongest", "access": level, "metric": metric}
            for one in judge_claim(run, claim(**asked, **bound)):
                row, name = table.loc[one.point], f"{level.lower()}_{metric}"
                expected = [row[name], row[f"{name}_low"], row[f"{name}_high"]]
                assert [one.found.value, one.found.low, one.found.high] == pytest.approx(expected, abs=1e-12)
                assert one.level == 0.95 and one.together and one.access == level
                assert metric != "auc" or one.attack == row[f"{level.lower()}_attack"]


def test_at_another_confidence_it_is_the_interval_of_the_family_at_that(sound):
    for level in (0.8, 0.99):
        found = only(sound, attack="strongest", at_most=0.99, confidence=level)
        expected = joint(sound, "baseline", level=level)["pia"]
        assert (found.found.low, found.found.high) == (expected.low, expected.high) and found.attack == "pia"
    assert joint(sound, "baseline", level=0.8)["pia"].low > joint(sound, "baseline", level=0.99)["pia"].low


def test_a_claim_on_the_strongest_holds_for_all_and_is_broken_by_one(sound):
    points = {j.point: j for j in judge_claim(sound, claim(defense="cpsample", attack="strongest", at_most=0.62))}
    for name, found in points.items():
        intervals = joint(sound, name).values()
        inside = all(one.low >= 0.38 and one.high <= 0.62 for one in intervals)
        outside = any(one.low > 0.62 or one.high < 0.38 for one in intervals)
        assert found.outcome == ("holds" if inside else "broken" if outside else "undecided")
    assert {found.outcome for found in points.values()} == {"holds", "broken", "undecided"}
    weights = judge_claim(sound, claim(defense="cpsample", attack="strongest", access="WEIGHTS", at_most=0.62))
    assert {found.outcome for found in weights} == {"broken"}  # more access never shows less


def test_an_attack_that_looks_weaker_and_is_wider_decides_where_it_reaches_over_the_bound(sound):
    """secmi rests on 30 images a side: its lower bound lies below pia's, its upper one above."""
    (record,) = [r for r in sound.records if (r.point, r.attack, r.access) == ("baseline", "secmi", "DENOISER")]
    draw = np.random.default_rng(1)
    few = {"member_scores": draw.normal(1.9, 1, 30), "nonmember_scores": draw.normal(0, 1, 30)}
    save_record(sound.path, record, few)
    run = RunFolder(sound.path)
    strong, weak = (joint(run, "baseline")[name] for name in ("pia", "secmi"))
    assert weak.low < strong.low and strong.high < weak.high < 0.999
    between = (strong.high + weak.high) / 2
    found = only(run, attack="strongest", at_most=between)
    assert found.outcome == "undecided" and found.attack == "pia" and found.found.high == strong.high
    assert found.decider == "secmi, DENOISER" and found.deciding == weak
    assert "secmi, DENOISER decides: " in explain(found)
    assert only(run, attack="strongest", at_most=(weak.high + 1) / 2).outcome == "holds"
    broken = only(run, attack="strongest", at_most=0.6)  # by the strongest, whatever the other's upper end
    assert broken.outcome == "broken" and broken.decider == "" and " decides: " not in explain(broken)


def test_that_the_strongest_reaches_a_value_takes_one_attack_that_does(sound):
    """Of the baseline's three, pia is the strongest and loss the weakest."""
    each = joint(sound, "baseline")
    outcomes = {bound: only(sound, attack="strongest", at_least=bound).outcome for bound in (0.5, 0.82, 0.99)}
    assert each["loss"].high < 0.85 < each["pia"].low + 0.03 and each["pia"].high < 0.99
    assert outcomes == {0.5: "holds", 0.82: "holds", 0.99: "broken"}
    assert only(sound, attack="strongest", at_least=each["pia"].value).outcome == "undecided"


def test_a_claim_without_access_is_judged_at_the_most_that_was_measured_and_says_so(sound):
    least = only(sound, access=None, at_most=0.99)
    assert least.access == "DENOISER" and "auc of pia at DENOISER, at most 0.99" in explain(least)
    most = only(sound, access=None, attack="strongest", at_most=0.99)
    assert most.access == "WEIGHTS" and "the strongest attack at WEIGHTS or less, at most 0.99" in explain(most)
    every = only(sound, access=None, attack="membership", at_most=0.99)
    assert every.access == "any" and "each membership attack at any access" in explain(every)


@pytest.mark.parametrize("width", ["80", "100", "200"])
def test_a_line_is_as_wide_as_the_terminal_and_names_the_point_once(sound, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    for name in ("low", "baseline: low"):
        for more in ({"attack": "strongest", "at_most": 0.91}, {"at_least": 0.91}, {"at_most": 0.5}):
            first, *below = format_judgement(only(sound, name=name, **more)).splitlines()
            assert first.split()[0] in ("holds", "broken", "undecided") and first.count("baseline") == 1
            assert below and all(line.startswith(" " * 11) and len(line) <= min(100, int(width)) for line in below)


@pytest.mark.parametrize("bound, strict, code", [(0.99, 1, 0), (0.6, 0, 1), (0.91, 0, 0), (0.91, 1, 1)])
def test_the_exit_code_is_that_of_the_worst(sound, tmp_path, leakbench, monkeypatch, bound, strict, code):
    (tmp_path / "claims.toml").write_text(GOOD.replace("0.6", str(bound)))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    words = ["--junit", tmp_path / "junit.xml", "--markdown", tmp_path / "claims.md", *(["--strict"] if strict else [])]
    done = leakbench("check", "claims", tmp_path / "claims.toml", sound.path, *words)
    assert done.code == code and done.err == ""
    assert ElementTree.parse(tmp_path / "junit.xml").getroot().get("failures") == str(code)
    assert (tmp_path / "summary.md").read_text() == (tmp_path / "claims.md").read_text() + "\n"
    assert sum(line.startswith("::") for line in done.out.splitlines()) == 1


def test_images_that_would_decide_it_do(sound):
    found = only(sound, at_most=round(auc(*scores(sound, "baseline", "pia", "DENOISER")).value + 0.01, 3))
    assert found.outcome == "undecided" and found.images > found.found.n
    member, nonmember = scores(sound, "baseline", "pia", "DENOISER")
    ends = {}
    for share in (0.6, 1.4):  # of the number that is said: half widths fall with its root, about
        times = round(share * found.images / found.found.n)
        ends[share] = auc(np.tile(member, times), np.tile(nonmember, times)).high
    assert ends[1.4] <= found.claim.at_most < ends[0.6]


def test_on_a_void_track_nothing_of_membership_is_decided_and_copies_are(sound):
    (blind,) = [r for r in sound.records if (r.point, r.attack) == ("baseline", "blind")]
    arrays = sound.arrays(blind)
    save_record(sound.path, blind, arrays | {"member_scores": arrays["member_scores"] + 2})
    run = RunFolder(sound.path)
    for bounds in ({"at_most": 1.0}, {"at_least": 0.8}, {"at_most": 0.6}):
        found = only(run, **bounds)
        assert found.outcome == "undecided" and "the track is void" in found.reason
    copies = {"attack": "nearest_copy_pixels", "access": None, "metric": "copy_rate"}
    assert only(run, **copies, at_most=0.5).outcome == "holds"


def test_on_scores_that_are_not_finite_nothing_is_decided(sound):
    (record,) = [r for r in sound.records if (r.point, r.attack, r.access) == ("baseline", "pia", "DENOISER")]
    save_record(sound.path, record.model_copy(update={"flags": ["non-finite"]}), sound.arrays(record))
    found = only(RunFolder(sound.path), at_least=0.8)
    assert found.outcome == "undecided" and "NaN or infinite" in found.reason


def test_of_the_point_that_it_is_compared_with_the_same_is_asked(sound):
    (record,) = [r for r in sound.records if (r.point, r.attack, r.access) == ("baseline", "pia", "DENOISER")]
    save_record(sound.path, record.model_copy(update={"flags": ["non-finite"]}), sound.arrays(record))
    (found,) = judge_claim(RunFolder(sound.path), claim(defense="reject_resample", against="baseline", at_most=0.5))
    assert found.outcome == "undecided" and "NaN or infinite" in found.reason


def test_one_attack_that_lacks_a_seed_leaves_the_strongest_undecided(make_run, tmp_path):
    def keep(record):
        return (record.point, record.attack, record.seed) != ("baseline", "secmi", 1)

    run = make_run(tmp_path, seeds=(0, 1), images=False, keep=keep)
    found = only(run, attack="strongest", at_most=1.0)
    assert found.outcome == "undecided" and "secmi, DENOISER: not all seeds" in found.reason
    assert only(run, at_most=1.0).outcome == "holds"


def test_an_interval_that_is_not_on_record_decides_nothing(sound):
    copies = {"attack": "nearest_copy_pixels", "access": None, "metric": "copy_rate", "at_most": 0.5}
    assert only(sound, **copies, confidence=0.9).outcome == "holds"
    found = only(sound, **copies, confidence=0.99)
    assert found.outcome == "undecided" and "95 % alone" in found.reason
    found = only(sound, attack="quality", access=None, metric="recall", at_least=0.5)
    assert found.outcome == "undecided" and "could not be computed" in found.reason


@pytest.mark.parametrize(
    "more, words",
    [
        ({"defense": "cpsampel"}, "defense = 'cpsampel' is not in"),
        ({"attack": "piaa"}, "did you mean 'pia'?"),
        ({"access": "API"}, "access = 'API' is not in"),
        ({"metric": "acu"}, "did you mean 'auc'?"),
        ({"against": "basline"}, "did you mean 'baseline'?"),
        ({"parameters": {"alhpa": 1.0}}, "parameters = 'alhpa'"),
        ({"defense": "cpsample", "parameters": {"alpha": 0.3}}, "it has cpsample alpha=0.001"),
    ],
)
def test_a_name_that_the_run_lacks_is_one_line(sound, more, words):
    with pytest.raises(UsageError) as caught:
        only(sound, at_most=0.5, **more)
    assert words in str(caught.value) and "claim 'a'" in str(caught.value) and "\n" not in str(caught.value)


GOOD = '[[claim]]\nname = "x"\ndefense = "baseline"\nattack = "pia"\nat_most = 0.6\n'


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "holds no [[claim]] table"),
        ("claim = 3", "holds no [[claim]] table"),
        ("[[claim]", "not a TOML file"),
        ("title = 1\n" + GOOD, "unknown key 'title'"),
        (GOOD + "at_lest = 0.5", "unknown key 'at_lest'; did you mean 'at_least'?"),
        (GOOD.replace('attack = "pia"\n', ""), "claim 1: key 'attack' is missing"),
        (GOOD.replace("at_most = 0.6\n", ""), "one of at_most, at_least, within; it has none"),
        (GOOD + "at_least = 0.5", "it has at_most and at_least"),
        (GOOD.replace("at_most = 0.6", "within = [0.7, 0.6]"), "`within` goes upwards"),
        (GOOD.replace("0.6", "nan"), "at_most = nan"),
        (GOOD + "confidence = 1.0", "confidence = 1.0"),
        (GOOD + 'access = "API2"', "access = 'API2'"),
        (GOOD.replace('"x"', '"a\\u001b[31m"'), "name = "),
        (GOOD + GOOD, "two claims have the name 'x'"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, text, words):
    (tmp_path / "claims.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_claims(tmp_path / "claims.toml")
    assert words in str(caught.value) and "claims.toml" in str(caught.value) and str(caught.value).isprintable()


def test_a_file_that_is_not_there_or_far_too_large_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_claims(tmp_path / "none.toml")
    (tmp_path / "claims.toml").write_text("#" * 2**21)
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        read_claims(tmp_path / "claims.toml")


def test_markup_and_line_breaks_of_names_reach_no_format(sound):
    found = [only(sound, name="<script>%0A::error::|x", at_most=b) for b in (0.99, 0.6, 0.91)]
    suite = ElementTree.fromstring(format_junit(found, strict=False))
    assert [suite.get(name) for name in ("tests", "failures", "skipped")] == ["3", "1", "1"]
    assert {case.get("name") for case in suite} == {"<script>%0A::error::|x"}
    assert ElementTree.fromstring(format_junit(found, strict=True)).get("failures") == "2"
    page = format_markdown(found)
    assert "<script>" not in page and "\\|x" in page and page.startswith(f"Claims: {format_counts(found)}.")
    lines = format_annotations(found, sound.path / "claims.toml").splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["::notice", "::error", "::warning"]
    assert all("%250A%3A%3Aerror" in line for line in lines)
    assert "images would decide it" in explain(found[2]) and "margin" in explain(found[0])

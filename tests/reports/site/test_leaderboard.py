"""A leaderboard ranks by the worst case within a track, and ranks nothing that says nothing."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape

import pytest

import leakbench as lb
from leakbench.reports.reading.strongest import strongest
from leakbench.reports.site.leaderboard.charts import plot_roc, plot_tradeoff
from leakbench.reports.site.leaderboard.results import read_submitted
from leakbench.reports.site.leaderboard.tracks import list_tracks
from leakbench.results.record import Metric
from leakbench.results.record_files import save_record
from leakbench.results.run_digest import digest_run
from leakbench.results.run_folder import RunFolder
from leakbench.results.verified import CheckedSubmission, CounterEvaluation, VerifiedFile, write_verified
from leakbench.runtime.errors import UsageError

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def aucs(**values):
    """Attacks by name with an AUC and an interval of 0.02 to each side."""
    return {
        name: {"auc": (value, value - 0.02, value + 0.02), "calibration_auc": value} for name, value in values.items()
    }


def point(name, role="defense", distance=2.0, **values):
    """A point of `tell_run`."""
    found = {"point": name, "defense": name.split()[0], "role": role, "attacks": aucs(**values)}
    return found | {"quality": {"frechet_heldout": (distance, distance - 0.1, distance + 0.1)}}


BASELINE = point("baseline", role="baseline", distance=1.0, loss=0.95, pia=0.9)
UNTRAINED = point("untrained", role="control", distance=60.0, loss=0.5, pia=0.5) | {"chain": ["untrained"]}
POINTS = [BASELINE, point("weak", loss=0.9, pia=0.6), point("mean", loss=0.6, pia=0.8), point("inverse", loss=0.35)]


def tracks_of(*runs, verified=None):
    return list_tracks([read_submitted(run) for run in runs], verified or VerifiedFile())


def ranks(track):
    return [(row.point.name, place and place.rank) for row, place in track.rows]


def change_plan(run, **values):
    path = run.path / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return RunFolder(run.path)


def text_of(path):
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", path.read_text())).replace("\u00a0", " "))


def test_the_worst_case_ranks_and_not_an_average(tmp_path, tell_run):
    """`mean` has the lowest average, and one attack that finds it; 0.35 is as far from 1/2 as 0.65."""
    (track,) = tracks_of(tell_run(tmp_path, [*POINTS, UNTRAINED]))
    assert ranks(track) == [("inverse", 1), ("mean", 2), ("weak", 3), ("baseline", None), ("untrained", None)]
    by_name = {row.point.name: row for row, _ in track.rows}
    assert by_name["mean"].attack.startswith("pia") and by_name["weak"].attack.startswith("loss")
    assert by_name["baseline"].unranked.startswith("reference") and by_name["untrained"].unranked == "control"


def test_an_ablation_has_no_rank_and_takes_no_place_from_a_defense(tmp_path, tell_run):
    found = [*POINTS, point("headless", role="ablation", loss=0.5)]
    (track,) = tracks_of(tell_run(tmp_path, found))
    assert [(name, rank) for name, rank in ranks(track) if rank] == [("inverse", 1), ("mean", 2), ("weak", 3)]
    assert {row.point.name: row.unranked for row, _ in track.rows}["headless"].startswith("ablation")


def test_places_are_those_that_the_intervals_allow(tmp_path, tell_run):
    found = [point(name, loss=value) for name, value in (("a", 0.6), ("b", 0.605), ("c", 0.61), ("d", 0.9))]
    (track,) = tracks_of(tell_run(tmp_path, found))
    assert [place.words for _, place in track.rows] == ["1 (1 to 3)", "2 (1 to 3)", "3 (1 to 3)", "4"]
    alike = [point("a", loss=0.6), point("b", loss=0.6)]
    (track,) = tracks_of(tell_run(tmp_path / "alike", alike))
    assert [place.rank for _, place in track.rows] == [1, 1]


def test_defenses_of_other_conditions_are_other_tracks_each_beside_its_own_baseline(tmp_path, tell_run):
    """A label-conditioned model is compared with the label-conditioned baseline, in table and plot."""
    points = [
        point("baseline", role="baseline", loss=0.95),
        point("plain", loss=0.7) | {"bases": ["baseline"]},
        point("baseline-label", role="baseline", loss=0.85),
        point("erased", loss=0.6) | {"bases": ["baseline-label"]},
        UNTRAINED,
    ]
    run = tell_run(tmp_path / "run", points)
    planned = json.loads((run.path / "plan.json").read_text())["points"]
    conditions = ("none", "none", "label", "label", "none")
    run = change_plan(run, points=[one | {"condition": c} for one, c in zip(planned, conditions, strict=True)])
    plain, label = tracks_of(run)
    assert ranks(plain) == [("plain", 1), ("baseline", None), ("untrained", None)]
    assert ranks(label) == [("erased", 1), ("baseline-label", None), ("untrained", None)]
    assert (plain.title, label.title) == ("digits, mlp, DENOISER", "digits, mlp, label-conditioned, DENOISER")
    site = lb.leaderboard(run.path, tmp_path / "site").parent
    (page,) = site.glob("defense-erased-*.html")
    drawn = json.loads(re.search(r'id="curve-1-spec">(.*?)</script>', page.read_text())[1])["data"]["values"]
    assert [one["name"] for one in drawn] == ["erased", "baseline-label"]
    assert "strongest at DENOISER, of 4 rows" in text_of(site / "attacks.html")


def test_a_name_that_says_nothing_of_its_method_is_explained_below_it(tmp_path, tell_run):
    """An ablation under a name of its own ranks; what it is stands beside it, and so does the reason of no rank."""
    points = [
        point("baseline", role="baseline", loss=0.95),
        point("cpsample", loss=0.7) | {"chain": ["baseline", "cpsample"]},
        point("ablation scale=1", loss=0.6) | {"chain": ["baseline", "cpsample"]},
        point("quiet", loss=0.65) | {"chain": ["dp_sgd"]},
    ]
    run = tell_run(tmp_path / "run", points)
    plain = {"name": "cpsample", "base": "baseline", "steps": 10, "scale": 3.0}
    own = plain | {"id": "ablation", "scale": [1.0, 2.0], "direction": "random"}
    change_plan(run, settings={"defense": [{"name": "baseline"}, plain, own, {"name": "dp_sgd", "id": "quiet"}]})
    (page,) = lb.leaderboard(run.path, tmp_path / "site").parent.glob("track-*.html")
    text = text_of(page)
    assert "ablation scale=1 cpsample, direction = random run told" in text
    assert "quiet dp_sgd run told" in text and re.search(r"cpsample run told", text)
    assert "baseline reference: what defenses are compared with run told" in text and "not ranked because" not in text


def test_a_release_that_two_runs_hold_has_one_row_which_names_both(tmp_path, make_run):
    """The second run measures more of it, and of another only some scores agree."""

    def kept(record):
        return record.point in ("baseline", "reject_resample") and record.family != "replication"

    def reduced(folder):
        run = make_run(folder, seeds=(0,), keep=kept)
        planned = json.loads((run.path / "plan.json").read_text())["points"]
        return change_plan(run, points=[one for one in planned if one["point"] in ("baseline", "reject_resample")])

    first, second = reduced(tmp_path / "first"), reduced(tmp_path / "second")
    for record in second.records:
        arrays = second.arrays(record)
        if record.point == "baseline":
            arrays = arrays | {"member_forgotten": next(iter(arrays.values())) > 0}
        elif "member_scores" in arrays:
            arrays = arrays | {"member_scores": arrays["member_scores"] + 1e-3}
        save_record(second.path, record, arrays)
    for track in tracks_of(first, RunFolder(second.path)):
        held = {row.point.name: len(row.entries) for row, _ in track.rows}
        assert held == {"baseline": 2, "reject_resample": 1} and len(track.rows) == 3
    site = lb.leaderboard([first.path, second.path], tmp_path / "site").parent
    page = next(site.glob("track-*.html"))
    assert text_of(page).count("and run quick") == 1
    assert len(set(re.findall(r'href="(defense-baseline-[^"]+)"', page.read_text()))) == 2
    for one in site.glob("defense-baseline-*.html"):
        assert "and run quick" in text_of(one)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ({"d": 0.95, "e": 0.95}, "none is shown to leak less than its baseline 0.95"),
        ({"d": 0.93, "e": 0.95}, "none is shown to leak less than its baseline 0.93"),
        ({"d": 0.6, "e": 0.6}, "2 defenses, tied 0.60"),
        ({"d": 0.6, "e": 0.95}, "d 0.60"),
    ],
)
def test_no_winner_is_named_among_equals_nor_where_none_leaks_less_than_the_baseline(tmp_path, tell_run, points, said):
    run = tell_run(
        tmp_path / "run",
        [point("baseline", role="baseline", loss=0.95)] + [point(name, loss=value) for name, value in points.items()],
    )
    site = lb.leaderboard(run.path, tmp_path / "site").parent
    assert re.search(rf"TPR at 10 % FPR 2 3 {re.escape(said)}", text_of(site / "index.html"))
    (page,) = site.glob("track-*.html")
    protects = "No defense of this track is shown to leak less than its baseline." not in text_of(page)
    assert protects == (min(points.values()) == 0.6)


def test_other_attacks_versions_data_and_sizes_are_other_tracks(tmp_path, tell_run):
    entries = [{"name": "loss"}, {"name": "pia"}]
    same = {"ensemble": "strongest 1", "attacks": {"loss": "", "pia": ""}, "settings": {"attack": entries}}
    others = (
        {},
        {"ensemble": "strongest 2"},
        {"settings": {"attack": [{"name": "loss", "t": 7}, {"name": "pia"}]}},
        {"samples": 100},
        {"split": {"member": 12}},
        {"headline": "tpr@fpr=0.01"},
    )
    runs = []
    for number, changed in enumerate(({}, *others)):
        run = tell_run(tmp_path / str(number), [point(f"d{number}", loss=0.6, pia=0.7)])
        runs.append(change_plan(run, **(same | changed)))
    found = tracks_of(*runs)
    assert len(found) == len({track.page for track in found}) == len(others)
    shared = [[row.point.name for row, _ in track.rows] for track in found if len(track.rows) > 1]
    assert shared == [["d0", "d1"]]


def test_void_inert_untrained_and_incomplete_rows_do_not_rank(tmp_path, tell_run):
    void = tell_run(tmp_path / "void", [BASELINE, point("d", loss=0.6), point("u", role="control", loss=0.9)])
    (track,) = tracks_of(void)
    assert track.ranked == 0 and track.void and all(row.unranked.startswith("void") for row, _ in track.rows)
    ruined = tell_run(tmp_path / "ruined", [BASELINE, point("ruined", distance=61.0, loss=0.5), UNTRAINED])
    (track,) = tracks_of(ruined)
    assert track.ranked == 0 and track.rows[1][0].unranked.startswith("as-untrained")
    partly = tell_run(tmp_path / "partly", [BASELINE, point("partly", loss=0.6), point("whole", loss=0.6, pia=0.7)])
    (track,) = tracks_of(change_plan(partly, attacks={"loss": "", "pia": ""}))
    assert ranks(track) == [("whole", 1), ("baseline", None), ("partly", None)]
    assert track.rows[2][0].unranked == "incomplete: no record of pia at every seed"


def test_a_defense_that_changes_nothing_does_not_rank(tmp_path, make_run):
    """Its records hold the baseline's arrays."""
    run = make_run(tmp_path, seeds=(0,), keep=lambda r: r.point == "baseline" and r.family != "replication")
    for record in run.records:
        twin = record.model_copy(update={"point": "reject_resample", "defense": "reject_resample"})
        save_record(run.path, twin, run.arrays(record))
    planned = json.loads((run.path / "plan.json").read_text())["points"]
    kept = [one | {"bases": ["baseline"]} for one in planned if one["point"] in ("baseline", "reject_resample")]
    track = tracks_of(change_plan(run, points=[kept[0] | {"bases": []}, kept[1]]))[0]
    assert track.ranked == 0 and track.rows[1][0].unranked.startswith("inert")


def checked(run, **values):
    given = {"status": "agrees", "ensemble": "strongest 1", "leakbench": "0.1.0", "checked": NOW} | values
    return CheckedSubmission(digest=digest_run(run.path), **given)


def counter(kind, low):
    metric = Metric(name="oriented_auc", value=low + 0.02, ci_low=low, ci_high=low + 0.04, n=300)
    given = {"point": "mean", "attack": "stronger", "access": "DENOISER", "seed": 0, "queries": 4.0}
    return CounterEvaluation(digest="c" * 64, kind=kind, metrics=(metric,), leakbench="0.1.0", checked=NOW, **given)


def test_a_verified_counter_evaluation_takes_the_row_and_an_asserted_one_does_not(tmp_path, tell_run):
    run = tell_run(tmp_path, POINTS)

    def rows(**values):
        (track,) = tracks_of(run, verified=VerifiedFile(submissions=(checked(run, **values),)))
        return {row.point.name: (row, place) for row, place in track.rows}

    own = rows()
    assert (own["mean"][0].state, own["mean"][1].rank) == ("ensemble", 2)
    asserted = rows(counters=(counter("asserted", 0.97),))
    assert asserted["mean"] == own["mean"]
    found, place = rows(counters=(counter("verified", 0.95),))["mean"]
    assert (found.state, found.attack, found.queries) == ("best external", "stronger (counter-evaluation)", 4.0)
    assert place.rank == 3 and found.auc.mean == pytest.approx(0.97)
    lying = rows(status="disagrees", disagreements=("auc of loss does not follow",))["mean"]
    assert lying[0].state == "unreliable" and lying[1] is None
    assert "auc of loss does not follow" in lying[0].unranked
    (track,) = tracks_of(run)
    assert {row.state for row, _ in track.rows} == {"self-reported"}


def test_a_plot_holds_the_rows_with_their_intervals(tmp_path, tell_run, run):
    (track,) = tracks_of(tell_run(tmp_path, POINTS))
    spec = plot_tradeoff(track.rows, "FD")
    values = {one["name"]: one for one in spec["data"]["values"]}
    assert set(values) == {"inverse", "mean", "weak", "baseline"} and values["weak"]["y"] == pytest.approx(0.9)
    assert values["weak"]["y0"] < 0.9 < values["weak"]["y1"] and values["baseline"]["kind"] == "reference"
    json.dumps(spec, allow_nan=False)
    blind = [(replace(row, distance=None), place) for row, place in track.rows]
    assert plot_tradeoff(blind, "FD") is None
    (record, *_) = strongest(run, run.plan.points[0], "DENOISER").values()
    steps = [(one["x"], one["y"]) for one in plot_roc(run, [("baseline", record)])["data"]["values"]]
    assert steps == sorted(steps) and steps[-1] == (1.0, 1.0) and 0 < steps[0][0] < 0.02


@pytest.fixture(scope="module")
def built(tmp_path_factory, tell_run):
    """A site of two runs that share a track."""
    home = tmp_path_factory.mktemp("built")
    first = tell_run(home / "first", [*POINTS, UNTRAINED])
    second = tell_run(home / "second", [BASELINE, point("other alpha=1", loss=0.7), point("other alpha=2", loss=0.62)])
    return first, second, lb.leaderboard([first.path, lb.load(second.path)], home / "site").parent


def test_the_pages_say_what_the_rows_hold_and_lead_to_one_another(built):
    first, second, site = built
    pages = {path.name for path in site.glob("*.html")}
    for path in site.glob("*.html"):
        links = re.findall(r'(?:href|src)="([^"#]+)"', path.read_text())
        assert {link for link in links if link != "data:,"} <= pages | {
            "assets/style.css",
            "assets/leaderboard.js",
            "assets/vega.js",
        }
    (track,) = site.glob("track-*.html")
    text = text_of(track)
    assert "1 (1 to 2) other alpha=2" in text and "inverse" in text and "self-reported" in text
    (defense,) = [path for path in site.glob("defense-other-*.html")]
    words = text_of(defense)
    assert digest_run(second.path) in words and "other alpha=1" in words and "other alpha=2" in words
    assert all(record.digest[:16] in words for record in second.records if record.defense == "other")
    attacks = text_of(site / "attacks.html")
    assert re.search(r"loss DENOISER 0 [1-9]", attacks)
    assert "digits, mlp, DENOISER" in text_of(site / "index.html")
    assert digest_run(first.path) != digest_run(second.path)


def test_the_same_results_give_the_same_files_and_old_pages_go(built, tmp_path):
    first, second, site = built

    def contents():
        return {path.name: path.read_bytes() for path in site.rglob("*") if path.is_file()}

    before = contents()
    (site / "track-of-old.html").write_text("")
    lb.leaderboard([first.path, second.path], site)
    assert contents() == before


def test_wrong_use_ends_in_one_line(built, tmp_path, leakbench, monkeypatch):
    first, _, _ = built
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    for words, told in (
        ((first.path, first.path, "--out", tmp_path / "a"), "the same run as"),
        ((tmp_path, "--out", tmp_path / "a"), "not the folder of a run"),
        ((first.path, "--out", tmp_path / "mine"), "is no leaderboard"),
        ((first.path, "--out", tmp_path / "a", "--verified", tmp_path / "none.json"), "no such file"),
    ):
        done = leakbench("leaderboard", *words)
        assert done.code == 2 and told in done.err and done.err.count("\n") == 1
    with pytest.raises(UsageError, match="no results were given"):
        lb.leaderboard([], tmp_path / "b")
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UsageError, match=r"pip install 'leakbench\[site\]'"):
        lb.leaderboard(first.path, tmp_path / "a")


def test_checked_submissions_of_other_runs_are_refused_in_one_line(built, tmp_path, leakbench):
    first, second, _ = built
    write_verified(tmp_path / "verified.json", VerifiedFile(submissions=(checked(first),)))
    words = ("--out", tmp_path / "site", "--verified", tmp_path / "verified.json")
    done = leakbench("leaderboard", second.path, *words)
    assert (done.code, done.err.count("\n")) == (2, 1) and "no checked submission is one of the runs" in done.err
    assert not (tmp_path / "site" / "index.html").exists()
    assert leakbench("leaderboard", first.path, second.path, *words).code == 0


def test_the_command_takes_checked_submissions_and_says_when_a_track_is_void(built, tmp_path, tell_run, leakbench):
    first, _, _ = built
    write_verified(tmp_path / "verified.json", VerifiedFile(submissions=(checked(first),)))
    site = tmp_path / "site"
    done = leakbench("leaderboard", first.path, "--out", site, "--verified", tmp_path / "verified.json")
    assert (done.code, done.out.strip(), done.err) == (0, str(site / "index.html"), "")
    (track,) = site.glob("track-*.html")
    assert "ensemble" in text_of(track) and "self-reported" not in text_of(track)
    void = tell_run(tmp_path / "void", [BASELINE, point("d", loss=0.6), point("u", role="control", loss=0.9)])
    assert leakbench("leaderboard", void.path, "--out", site).code == 3
    (track,) = site.glob("track-*.html")
    assert "Void: run told" in text_of(track) and "No row of this track ranks." in text_of(track)

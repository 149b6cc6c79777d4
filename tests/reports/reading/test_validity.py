"""A void track and rows that mean nothing are marked wherever their numbers stand, and nowhere else."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest

from leakbench.reports.figures.registry import CHARTS, write_drawings
from leakbench.reports.reading.marks import find_marks
from leakbench.reports.reading.strongest import most_protective
from leakbench.reports.reading.tradeoff import list_rows
from leakbench.reports.reading.verdicts import VOID, list_membership_verdicts
from leakbench.reports.reading.void import list_void_reasons
from leakbench.reports.sections.effects import list_effects
from leakbench.reports.site.page import render as render_page
from leakbench.reports.site.report import render
from leakbench.reports.tables.csv_files import write_csv
from leakbench.reports.tables.terminal import print_table
from leakbench.results.record import Metric
from leakbench.results.record_files import save_record
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import auc

BASE, WEAKEST = "baseline", "cpsample alpha=0.001"


def rewrite(run, wanted, change):
    """A copy of the run's folder as it is with other records: change(record, arrays) of all those that are wanted."""
    for record in [r for r in run.records if wanted(r)]:
        save_record(run.path, *change(record, run.arrays(record)))
    return RunFolder(run.path)


def shifted(record, arrays):
    """As if members scored higher by two standard deviations."""
    arrays = arrays | {"member_scores": arrays["member_scores"] + 2}
    found = auc(arrays["member_scores"], arrays["nonmember_scores"])
    better = [
        m.model_copy(update={"value": found.value, "ci_low": found.low, "ci_high": found.high})
        if m.name == "auc"
        else m
        for m in record.metrics
    ]
    return record.model_copy(update={"metrics": better}), arrays


@pytest.fixture
def sound(make_run, tmp_path):
    return make_run(tmp_path, seeds=(0,), images=False)


def test_images_of_few_persons_void_no_track_by_their_number(sound):
    """Images of half of ten persons score far higher than all others: by image the split leaks, by person maybe not."""

    def of_ten_persons(record, arrays):
        ours, theirs = (np.arange(len(arrays[f"{side}_scores"])) % 10 for side in ("member", "nonmember"))
        scores = {"member_scores": (ours % 2).astype(float), "nonmember_scores": (theirs % 10 == 1).astype(float)}
        noise = np.random.default_rng(0).normal(0, 0.01, len(ours) + len(theirs))
        scores["member_scores"] += noise[: len(ours)]
        scores["nonmember_scores"] += noise[len(ours) :]
        groups = {"member_groups": ours, "nonmember_groups": theirs + 10}
        return record, arrays | scores | (groups if grouped else {})

    blind = [r for r in sound.records if r.attack == "blind"]
    for grouped in (False, True):
        run = rewrite(sound, lambda record: record in blind, of_ten_persons)
        assert bool(list_void_reasons(run)) is not grouped


@pytest.fixture(params=["track-invalid", "control-misbehaves"])
def void(request, sound):
    """The made-up run as one whose split leaks, and as one whose untrained network seems to leak; and the flag."""
    cases = {
        "track-invalid": lambda r: r.attack == "blind" and r.point == BASE,
        "control-misbehaves": lambda r: r.attack == "pia" and r.point == "untrained",
    }
    return rewrite(sound, cases[request.param], shifted), request.param


def flags_of(path):
    with path.open() as file:
        return [(row["attack"], row["point"], set(row["flags"].split(";")) - {""}) for row in csv.DictReader(file)]


def test_a_sound_run_has_neither(sound, capsys):
    assert list_void_reasons(sound) == () and not any(find_marks(sound, p.name) for p in sound.plan.points)
    print_table(sound)
    assert "VOID" not in capsys.readouterr().out and "void" not in render(sound)


def test_a_void_track_is_flagged_on_every_row_that_rests_on_the_split_and_on_no_other(void):
    run, flag = void
    write_csv(run)
    for name in ("results.csv", "summary.csv"):
        rows = flags_of(run.path / name)
        assert {flag in flags for attack, _, flags in rows if attack in ("blind", "loss", "secmi", "pia")} == {True}
        assert {flag in flags for attack, _, flags in rows if attack in ("quality", "nearest_copy_pixels")} == {False}


def test_a_void_track_has_no_verdict_and_nothing_of_membership_has_fallen(void, capsys):
    run, flag = void
    print_table(run)
    assert "VOID, no membership result says anything" in capsys.readouterr().out
    assert {one.words for p in run.plan.points for one in list_membership_verdicts(run, p)} == {VOID}
    effects = list_effects(run)
    assert effects and all([change.kind for change in one.membership] == [""] for one in effects)
    assert any(change.kind == "fell" for one in effects for change in one.copying)  # which does not rest on it
    report = render(run)
    assert report.index("**This track is void**") < report.index("## The trade-off") and VOID in report
    assert "| leaks |" not in report and "AUC of the strongest attack at" not in report
    assert "**This track is void**" in render_page([run], run.path)
    assert all(flag in row.flags for row in list_rows(run))


def test_panels_that_rest_on_the_split_are_stamped_and_no_others(void, sound, make_run, tmp_path):
    from matplotlib.figure import Figure

    drawn = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "leakbench.reports.figures.registry.save", lambda figure, _, name, *__: drawn.update({name: figure}) or []
        )
        write_drawings(void[0])
    stamped = {name: [stamp_of(ax) for ax in figure.axes] for name, figure in drawn.items()}
    assert stamped["roc"] == [True, True]
    assert stamped["tradeoff"] == [True, True, False, False]
    assert not any(stamped["similarity"]) and isinstance(drawn["roc"], Figure)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "leakbench.reports.figures.registry.save", lambda figure, _, name, *__: drawn.update({name: figure}) or []
        )
        write_drawings(make_run(tmp_path / "sound", seeds=(0,), images=False))
    assert not any(stamp_of(ax) for figure in drawn.values() for ax in figure.axes)


def stamp_of(ax):
    return any(text.get_text() == "VOID" for text in ax.texts)


def as_base(run):
    """The run as one whose weakest CPSample changed nothing: records of answers and samples are the baseline's."""
    base = {(r.attack, r.access): r for r in run.records if r.point == BASE}
    gates = {"gate_rate_by_t": dict.fromkeys(("0", "100", "200"), 0.0)}

    def copied(record, _):
        its = base[record.attack, record.access]
        info = {"defense": gates} if record.attack == "quality" else record.info
        cost = Metric(name="network_evaluations", value=3.0, n=1)  # its training took something, all the same
        return record.model_copy(update={"metrics": [*its.metrics, cost], "info": info}), run.arrays(its)

    plan = run.path / "plan.json"
    plan.write_text(re.sub(r'("defense": "cpsample")', r'\1, "bases": ["baseline"]', plan.read_text()))
    return rewrite(run, lambda r: r.point == WEAKEST, copied)


def test_a_defense_that_changed_nothing_is_inert_and_says_why(sound, capsys):
    run = as_base(sound)
    (mark,) = find_marks(run, WEAKEST)
    assert mark.flag == "inert" and "those of baseline bit for bit: its gate opened in 0 of 3 steps" in mark.words
    assert not any(find_marks(run, p.name) for p in run.plan.points if p.name != WEAKEST)
    print_table(run)
    assert f"inert: {WEAKEST}: " in capsys.readouterr().out
    write_csv(run)
    for name in ("results.csv", "summary.csv"):
        assert {("inert" in flags) == (point == WEAKEST) for _, point, flags in flags_of(run.path / name)} == {True}
    report = render(run)
    assert f"> **{WEAKEST}** means nothing here" in report and f"- **{WEAKEST}** (inert)" in report


def test_one_bit_of_one_score_is_enough_to_act(sound):
    run = as_base(sound)

    def nudged(record, arrays):
        scores = arrays["member_scores"].copy()
        scores[0] = np.nextafter(scores[0], np.inf)
        return record, arrays | {"member_scores": scores}

    run = rewrite(run, lambda r: (r.point, r.attack, r.access) == (WEAKEST, "pia", "DENOISER"), nudged)
    assert find_marks(run, WEAKEST) == ()


def test_weights_alone_do_not_make_a_sampling_time_defense_inert(sound):
    """At the weights it is its base by design, and its scores there are equal."""
    plan = sound.path / "plan.json"
    plan.write_text(re.sub(r'("defense": "cpsample")', r'\1, "bases": ["baseline"]', plan.read_text()))
    assert find_marks(RunFolder(sound.path), "cpsample alpha=0.5") == ()


@pytest.mark.parametrize("beyond, marked", [(-70, False), (-0.01, False), (0.01, True), (5, True), (50, True)])
def test_a_model_not_shown_to_be_nearer_to_real_images_than_an_untrained_one_is_marked(sound, beyond, marked):
    """`beyond`: by how much its interval ends above the beginning of the untrained network's."""
    (untrained,) = [r for r in sound.records if (r.point, r.attack) == ("untrained", "quality")]
    high = untrained.metric("frechet_heldout").ci_low + beyond

    def far(record, arrays):
        moved = {"value": high - 1, "ci_low": high - 2, "ci_high": high}
        metrics = [m.model_copy(update=moved) if m.name == "frechet_heldout" else m for m in record.metrics]
        return record.model_copy(update={"metrics": metrics}), arrays

    run = rewrite(sound, lambda r: (r.point, r.attack) == (WEAKEST, "quality"), far)
    assert [mark.flag.value for mark in find_marks(run, WEAKEST)] == (["as-untrained"] if marked else [])


def test_a_marked_point_stands_for_nothing_and_nothing_fell_at_it(sound):
    sweep = [p for p in sound.plan.points if p.defense == "cpsample"]
    best = most_protective(sound, sweep)

    def far(record, arrays):
        moved = {"value": 500.0, "ci_low": 490.0, "ci_high": 510.0}
        metrics = [m.model_copy(update=moved) if m.name == "frechet_heldout" else m for m in record.metrics]
        return record.model_copy(update={"metrics": metrics}), arrays

    run = rewrite(sound, lambda r: (r.point, r.attack) == (best.name, "quality"), far)
    assert most_protective(run, sweep) != best and most_protective(run, [best]) == best
    (effect,) = [one for one in list_effects(run) if one.point.name == best.name]
    assert [mark.flag for mark in effect.marks] == ["as-untrained"]
    said = render(run).partition(f"to **{best.name}**")[2].partition("From **")[0]
    assert "nothing is compared" in said and "fell" not in said
    chart = next(chart for chart in CHARTS if chart.name == "tradeoff")
    styles = chart.collect_data(run).styles
    assert styles[best.name].hollow and styles[best.name].label == f"{best.name} (as-untrained)"
    assert not any(style.hollow for name, style in styles.items() if name != best.name)

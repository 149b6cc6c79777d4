"""Points, attacks and columns are chosen by name; what the whole run says of them stays as it is."""

from __future__ import annotations

import pytest

import leakbench as package
from leakbench import UsageError
from leakbench.interface.shown import choose_shown, list_columns
from leakbench.reports.figures import tradeoff
from leakbench.reports.figures.styles import list_styles
from leakbench.reports.reading.points import find_baseline
from leakbench.reports.reading.void import list_void_reasons
from leakbench.results.run_folder import RunFolder


@pytest.fixture(scope="module")
def run(finished):
    return RunFolder(finished.out)


def test_nothing_chosen_is_the_run_itself(run):
    assert choose_shown(run) is run


def test_points_go_by_name_and_by_defense(run):
    names = [point.name for point in choose_shown(run, points=["cpsample"]).plan.points]
    assert names == ["cpsample alpha=0.25", "cpsample alpha=0.5"]
    one = choose_shown(run, points=["cpsample alpha=0.5"])
    assert {record.point for record in one.records} == {"cpsample alpha=0.5"}
    assert find_baseline(one).name == "baseline"  # what it is compared with is not shown, and stays
    assert list_void_reasons(one) is list_void_reasons(run)
    assert list_styles(one) == {"cpsample alpha=0.5": list_styles(run)["cpsample alpha=0.5"]}


def test_the_strongest_of_chosen_attacks_says_so(run):
    shown = choose_shown(run, attacks=["pia"])
    assert {record.attack for record in shown.records} == {"pia", "quality"}
    assert {panel.label for panel in tradeoff.collect_data(shown).panels} == {"AUC, strongest of those shown"}
    assert "of the strongest of pia at each" in package.load(run.path).latex(attacks=["pia"])


def test_columns_are_those_of_tables_and_panels(run):
    assert {"frechet_heldout", "denoiser_auc", "denoiser_tpr@fpr=0.1", "queries"} <= set(list_columns(run))
    shown = choose_shown(run, columns=["denoiser_auc"])
    assert [panel.title for panel in tradeoff.collect_data(shown).panels] == ["DENOISER"]
    text = package.load(run.path).latex(columns=["denoiser_auc"])
    assert "AUC" in text and "held-out $" not in text


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"points": ["baselin"]}, "--points: .* has no 'baselin' .did you mean 'baseline'"),
        ({"attacks": ["pai", "loss"]}, "--attacks: .* has no 'pai' .did you mean 'pia'"),
        ({"columns": ["denoiser_acu", "x"]}, "--columns: .*did you mean 'denoiser_auc'\\?.; 'x' .known: "),
    ],
)
def test_an_unknown_name_is_one_line_with_the_nearest(run, choice, said):
    with pytest.raises(UsageError, match=said):
        choose_shown(run, **choice)


def test_the_command_shows_what_was_chosen(again, leakbench):
    words = ("report", again.out, "--points", "baseline,cpsample alpha=0.5", "--format", "tex")
    assert leakbench(*words).code == 0
    text = (again.out / "tables" / "tradeoff.tex").read_text()
    assert "cpsample alpha=0.5" in text and "cpsample alpha=0.25" not in text
    wrong = leakbench("report", again.out, "--points", "baselin")
    assert wrong.code == 2 and wrong.err.count("\n") == 1 and "baseline" in wrong.err
    pointless = leakbench("report", again.out, "--attacks", "pia", "--format", "csv")
    assert pointless.code == 2 and "--attacks chooses what --format tex and figures show" in pointless.err


def test_from_python_a_figure_is_matplotlibs(run):
    drawn = package.load(run.path).plot("tradeoff", points=["baseline"], columns=["denoiser_auc"], width=3.25)
    assert [ax.get_title() for ax in drawn.axes] == ["DENOISER"] and drawn.get_size_inches()[0] == 3.25
    with pytest.raises(UsageError, match="no figure 'tradof'; did you mean 'tradeoff'"):
        package.load(run.path).plot("tradof")
    with pytest.raises(UsageError, match="no figure 'tau': no release has"):
        package.load(run.path).plot("tau")
    with pytest.raises(UsageError, match="no table 'forgetting' here"):
        package.load(run.path).latex("forgetting")


def test_a_model_card_is_of_chosen_points(again, leakbench):
    assert leakbench("report", again.out, "--format", "model-card", "--points", "baseline").code == 0
    text = (again.out / "model_card" / "privacy.md").read_text()
    assert "**baseline**" in text and "cpsample" not in text.partition("leakbench run")[0]

"""Tables in LaTeX compile whatever a defense is called, set the best in bold by its interval, and say what is void."""

from __future__ import annotations

import random
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leakbench.reports.reading.scores import load_scores
from leakbench.reports.reading.shown import ShownRun
from leakbench.reports.reading.strongest import strongest
from leakbench.reports.tables.paper import attacks, guarantees, tradeoff
from leakbench.reports.tables.paper.best import find_best
from leakbench.reports.tables.paper.escape import escape, label
from leakbench.reports.tables.paper.registry import list_tables, write_tex
from leakbench.reports.tables.paper.render import ROWS as ROWS_OF_A_FLOAT
from leakbench.reports.tables.paper.render import render
from leakbench.results.record import Metric
from leakbench.statistics import auc, delong_pair, proportion_pair

HOSTILE = "a_b%$\\ ~^&#{} \"<b>`|' [x]*--- \N{GREEK SMALL LETTER TAU} é 你 \\input{/etc/passwd}"


def point(name, defense=None, role="defense", quality=(1.0, 0.9, 1.1), auc=(0.9, 0.88, 0.92), **more):
    attacks = {"pia": {"auc": auc, "calibration_auc": 0.9, "tpr@fpr=0.1": (0.5, 0.4, 0.6)}}
    return {
        **{"point": name, "defense": defense or name.split(" ")[0], "role": role, "attacks": attacks},
        "quality": {"frechet_heldout": quality, "frechet": quality},
        **more,
    }


ROWS = [
    point("baseline", role="baseline"),
    point("near", quality=(1.1, 0.95, 1.25), auc=(0.60, 0.55, 0.65)),
    point("far", quality=(2.0, 1.8, 2.2), auc=(0.62, 0.58, 0.66)),
    point("below", quality=(1.4, 1.3, 1.5), auc=(0.3, 0.25, 0.35)),
    point("as good as new", defense="lazy", quality=(30.0, 28.0, 32.0), auc=(0.5, 0.45, 0.55)),
    point("untrained", role="control", chain=("untrained",), quality=(29.0, 27.0, 31.0), auc=(0.5, 0.45, 0.55)),
]

LEAKING = point("untrained", role="control", chain=("untrained",), quality=(29.0, 27.0, 31.0), auc=(0.9, 0.88, 0.92))


def bold(run):
    """Points set in bold, by column."""
    table = tradeoff.collect(run)
    found = {}
    for number, name in find_best(run, table):
        found.setdefault(name, set()).add(table.rows[number].words[0])
    return found


def tables(text):
    """The bodies of the tabulars of a fragment: specification and lines."""
    return re.findall(r"\\begin\{tabular\}\{([^\n]*)\}\n(.*?)\\end\{tabular\}", text, re.DOTALL)


def check(text):
    """Holds a fragment to what LaTeX asks of it: balanced braces, as many cells in each line as there are columns."""
    plain = re.sub(r"\\[\\{}%&#$_]", lambda m: "\n" if m[0] == "\\\\" else "", text)
    depth = 0
    for one in plain:
        depth += (one == "{") - (one == "}")
        assert depth >= 0
    assert depth == 0 and text.isascii()
    for layout, body in tables(text):
        columns = len(re.findall("[lS]", re.sub(r"\[[^]]*\]|@\{[^}]*\}", "", layout)))
        for line in re.sub(r"\\(toprule|midrule|bottomrule|addlinespace|cmidrule\(lr\)\{.*?\})", "", body).split(
            "\\\\"
        ):
            spans = [int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
            cells = len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans)
            assert not line.strip() or cells == columns, line


def test_text_of_any_kind_is_plain_ascii_and_keeps_its_meaning():
    assert escape("a_b%$\\") == r"a\_b\%\$\textbackslash{}"
    assert escape("é \N{GREEK SMALL LETTER TAU} 你\n--") == "\\'{e} $\\tau$ \\textsf{U+4F60} -{}-"
    assert label("My Suite/../%", "tradeoff") == "my-suite-tradeoff"


@given(st.text())
def test_text_of_any_kind_is_balanced_and_holds_no_command_of_its_own(text):
    found = escape(text)
    bare = re.sub(r"\\[{}$&#%_]|\\[a-zA-Z]+|\\[`'^~\"](?=\{)", "", found)
    assert found.isascii() and "\\" not in bare and not re.search("[%#&_^~]", bare)
    assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0


def test_every_row_not_shown_to_be_worse_is_bold_and_never_one_that_means_nothing(tell_run, tmp_path):
    """2.0 - 1.0 is beyond hypot(0.2, 0.1), 1.1 - 1.0 is not; 0.3 is 0.2 from 1/2, 0.60 is 0.1, 0.62 is 0.12 from it."""
    run = tell_run(tmp_path, ROWS)
    found = bold(run)
    assert found["frechet_heldout"] == {"baseline", "near"}
    assert found["denoiser_auc"] == {"near", "far"}
    assert "denoiser_tpr@fpr=0.1" not in found  # all are alike
    assert "frechet" not in found  # near the training images are copies too
    assert "held-out $\\downarrow$" in render(run, tradeoff.collect(run))
    assert "training set}" in render(run, tradeoff.collect(run))  # and no arrow
    assert r"\bfseries 1.00 & {\scriptsize [0.90, 1.10]}" in render(run, tradeoff.collect(run))


def test_scores_of_the_same_images_are_compared_paired(make_run, tmp_path):
    """As DeLong says of the same scores; where the weights are the same they differ by nothing."""
    run = make_run(tmp_path, seeds=(0,), images=False)
    names = [planned.name for planned in run.plan.points if planned.role != "control"]
    chosen = {planned.name: strongest(run, planned, "DENOISER")[0] for planned in run.plan.points}
    scores = {name: load_scores(run, chosen[name]) for name in names}
    sides = {name: 1 if auc(*found).value >= 0.5 else -1 for name, found in scores.items()}
    scores = {name: [sides[name] * side for side in found] for name, found in scores.items()}
    best = min(names, key=lambda name: auc(*scores[name]).value)
    expected = {n for n in names if n == best or delong_pair(*scores[n], *scores[best]).difference.low <= 0}
    assert bold(run)["denoiser_auc"] == expected and len(expected) < len(names)
    assert "weights_auc" not in bold(run)


def test_attacks_shown_to_be_stronger_than_looking_at_the_images_alone_are_bold(run):
    """The blind baseline is shown to be weaker than each attack without protection, and they stand in bold for it."""
    table = attacks.collect(run)
    own = [number for number, row in enumerate(table.rows) if row.words[0] == "baseline"]
    found = {
        table.rows[number].words[1] for number, column in find_best(run, table) if number in own if column == "auc"
    }
    assert found and "blind" not in found and "blind" in {table.rows[number].words[1] for number in own}


def test_the_table_of_attacks_has_a_row_at_the_weights_of_each_defense(run):
    for point_ in run.plan.points:
        needs = ", ".join(row.words[2] for row in attacks.collect(run).rows if row.words[0] == point_.name)
        assert point_.role == "baseline" or {"DENOISER", "WEIGHTS"} <= set(needs.split(", "))


def test_a_void_track_has_a_line_across_the_table_and_nothing_in_bold(tell_run, tmp_path):
    sound = tell_run(tmp_path / "sound", ROWS)
    void = tell_run(tmp_path / "void", [*ROWS[:-1], LEAKING])
    for run, marked in ((sound, False), (void, True)):
        text = render(run, tradeoff.collect(run))
        assert ("VOID TRACK" in text, "Void: what cannot leak" in text, r"\bfseries" not in text) == (marked,) * 3
        check(text)


def test_fragments_hold_together_whatever_names_hold(run, tell_run, tmp_path):
    hostile = tell_run(tmp_path, [point(HOSTILE, role="baseline", flags=[HOSTILE]), *ROWS[1:]])
    for one in (run, hostile):
        found = list_tables(one)
        assert {"tradeoff", "attacks"} <= {table.name for table in found}
        for table in found:
            check(render(one, table))
    assert "/etc/passwd" in render(hostile, tradeoff.collect(hostile))  # as text
    assert "\\input" not in render(hostile, tradeoff.collect(hostile))


def test_many_rows_are_continued_in_further_floats(tell_run, tmp_path):
    run = tell_run(tmp_path, [point(f"far k={k}") for k in range(ROWS_OF_A_FLOAT + 1)])
    text = render(run, tradeoff.collect(run))
    assert text.count(r"\begin{table*}") == 2 and "(part 2 of 2)" in text and r"\label{tab:told-tradeoff-2}" in text
    check(text)


def test_a_table_with_nothing_to_say_any_more_is_deleted(tell_run, tmp_path):
    run = tell_run(tmp_path, ROWS)
    stale = tmp_path / "tables" / "guarantees.tex"
    stale.parent.mkdir()
    stale.write_text("of an earlier run")
    written = [path.name for path in write_tex(run)]
    assert not stale.exists() and written == ["tradeoff.tex", "attacks.tex", "tables.tex"]
    once = [path.read_bytes() for path in sorted(stale.parent.iterdir())]
    write_tex(run)
    assert once == [path.read_bytes() for path in sorted(stale.parent.iterdir())]


def test_a_selection_leaves_other_tables_as_they_are(tell_run, tmp_path):
    run = tell_run(tmp_path, ROWS)
    write_tex(run)
    attacks_before = (tmp_path / "tables" / "attacks.tex").read_bytes()
    written = write_tex(ShownRun(run, {"baseline", "near"}, None, {"frechet_heldout"}))
    assert [path.name for path in written] == ["tradeoff.tex", "tables.tex"]
    assert (tmp_path / "tables" / "attacks.tex").read_bytes() == attacks_before
    assert "\\input{attacks}" in (tmp_path / "tables" / "tables.tex").read_text()


@pytest.mark.tex
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
def test_the_document_compiles_as_it_stands(tell_run, tmp_path):
    draw = random.Random(0)
    strange = ["".join(chr(draw.choice([*range(33, 127), *range(161, 1024)])) for _ in range(12)) for _ in range(30)]
    named = [point(HOSTILE, role="baseline", flags=[HOSTILE]), *(point(name, defense=name) for name in strange), *ROWS]
    write_tex(tell_run(tmp_path, named))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path / "tables", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout and (tmp_path / "tables" / "tables.pdf").stat().st_size > 10_000


def test_guarantees_stand_beside_what_an_audit_shows(tell_run, tmp_path):
    spent = {"epsilon": 8.0, "delta": 1 / 648, "unit": "image", "accountant": "prv"}
    spent |= {"adjacency": "zero-out", "epsilon_replace_one": 21.0}
    run = tell_run(tmp_path, [*ROWS[:2], point("dp", guarantee=spent)])
    (row,) = guarantees.collect(run).rows
    assert row.words == ("dp", "0.00154", "image", "zero-out", "prv") and row.cells["epsilon"].found.mean == 8.0
    assert row.cells["epsilon_replace_one"].found.mean == 21.0
    check(render(run, guarantees.collect(run).filled))


def test_a_row_that_is_not_shown_to_copy_is_not_worse_than_one_with_fewer_copies_than_chance(make_run, tmp_path):
    """Each at a threshold of its own, so that they are no pairs: 0.4 % [-1, 2] beside -3 % [-4, -2]."""
    values = {"reject_resample": (-0.03, -0.04, -0.02), "cpsample alpha=0.5": (0.004, -0.01, 0.02)}

    def change(record):
        if record.attack != "nearest_copy_pixels":
            return record
        value, low, high = values.get(record.point, (0.1, 0.09, 0.11))
        kept = [one for one in record.metrics if one.name != "copy_rate_excess"]
        found = Metric(name="copy_rate_excess", value=value, ci_low=low, ci_high=high, n=600)
        return record.model_copy(update={"metrics": [*kept, found], "info": {"threshold": len(record.point) + value}})

    run = make_run(tmp_path, seeds=(0,), images=False, change=change)
    assert bold(run)["copy_rate_excess_pixels"] == set(values)


def test_ablations_are_never_bold(tell_run, tmp_path):
    run = tell_run(
        tmp_path, [*ROWS, point("half of near", role="ablation", quality=(0.5, 0.4, 0.6), auc=(0.5, 0.48, 0.52))]
    )
    assert bold(run)["frechet_heldout"] == {"baseline", "near"} and bold(run)["denoiser_auc"] == {"near", "far"}


def test_copies_of_the_same_sample_seeds_are_compared_in_pairs(make_run, tmp_path):
    """As McNemar says of the same samples."""
    run = make_run(tmp_path, seeds=(0,), images=False)
    records = {r.point: r for r in run.records if r.attack == "nearest_copy_pixels" and r.point != "untrained"}
    counted = {name: run.arrays(r)["similarity"] >= r.info["threshold"] for name, r in records.items()}
    best = min(counted, key=lambda name: counted[name].sum())
    expected = {n for n, c in counted.items() if n == best or proportion_pair(c, counted[best]).difference.low <= 0}
    assert bold(run)["copy_rate_excess_pixels"] == expected and 1 <= len(expected) < len(counted)


def test_intervals_stay_those_of_the_whole_family_whatever_is_shown(run):
    whole, part = (tradeoff.collect(one).rows[0].cells["denoiser_auc"] for one in (run, ShownRun(run, None, {"pia"})))
    assert (whole.found.low, whole.found.high) == (part.found.low, part.found.high)

"""Many attacks on one page: every row with what it took, no computation twice, and p values that know of each other."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from leakbench.reports.reading.access_gaps import list_access_gaps, top_access_gaps
from leakbench.reports.reading.attack_ranking import rank_results
from leakbench.reports.reading.controls import Control, list_controls
from leakbench.reports.reading.family import find_corrected
from leakbench.reports.reading.inapplicable import list_inapplicable
from leakbench.reports.reading.runner_up import NEXT, format_runners_up, list_runners_up
from leakbench.reports.reading.strongest import strongest
from leakbench.reports.sections.attacks import attack_tables, smallest_detectable
from leakbench.reports.sections.controls import top_controls
from leakbench.reports.sections.sets import sets, shares
from leakbench.reports.sections.sharing import format_shared_calls, list_shared_calls, share_in_network
from leakbench.reports.site.report import render
from leakbench.reports.tables.csv_files import write_csv
from leakbench.reports.tables.terminal import print_table
from leakbench.results.record import Metric
from leakbench.results.run_folder import RunFolder
from leakbench.statistics import Estimate, auc_p_value, delong_pair, holm, smallest_detectable_auc


@pytest.fixture(scope="module")
def report(army):
    return render(army)


def cells_of(table):
    return [dict(zip(table.titles, row, strict=True)) for row in table.cells]


def scores(run, record):
    arrays = run.arrays(record)
    sign = record.info["orientation"]
    return sign * arrays["member_scores"], sign * arrays["nonmember_scores"]


def test_without_protection_every_attack_has_one_row(army):
    plain, supervised, *_ = attack_tables(army)
    assert (plain.point, plain.supervised, supervised.point, supervised.supervised) == (
        *("baseline", False),
        *("baseline", True),
    )
    told = [row["attack"].removesuffix(" (inverted)") for row in [*cells_of(plain), *cells_of(supervised)]]
    everybody = {r.attack for r in army.records if r.family == "membership"} - {"adaptive_cpsample"}
    assert sorted(told) == sorted(everybody)
    labels = {row["attack"]: row["labels"] for row in cells_of(supervised)}
    assert labels == dict.fromkeys(("blind", "rediffuse_nn", "cdi", "secmi_nn", "gsa1"), "120")
    assert "labels" not in plain.titles
    had = {row["attack"]: (row["public images"], row["shadow models"]) for row in cells_of(plain)}
    assert (had["quantile"], had["rmia"], had["gsa2"]) == (("200", "-"), ("-", "16"), ("-", "4"))


def test_rows_stand_by_access_and_the_strongest_first(army):
    rows = rank_results(army, army.plan.points[0])
    order = [("NONE", "SAMPLES", "API", "DENOISER", "WEIGHTS").index(row.access) for row in rows]
    assert order == sorted(order)
    first = next(row for row in rows if row.access == "DENOISER")
    least = {}
    for record in army.records:
        if (record.point, record.access, record.family) == ("baseline", "DENOISER", "membership") and record.metrics:
            least.setdefault(record.attack, []).append(find_corrected(army, record).least)
    assert first.attack == max(least, key=lambda attack: np.mean(least[attack]))


def test_p_values_are_of_all_seeds_and_corrected_for_the_whole_release(army):
    """Never below the raw one, never beyond Bonferroni's over every attack at every level, AUC and TPR."""
    plain, *_ = attack_tables(army)
    count = len({r.arrays for r in army.records if (r.point, r.seed, r.family) == ("baseline", 0, "membership")})
    for row in cells_of(plain):
        name = row["attack"].removesuffix(" (inverted)")
        records = [r for r in army.records if (r.point, r.attack, r.access) == ("baseline", name, row["needs"])]
        raw = [auc_p_value(*scores(army, record)) for record in records]
        corrected = [find_corrected(army, record).p_value for record in records]
        assert row["p (corrected)"] == ("< 0.001" if max(corrected) < 0.001 else f"{max(corrected):.3f}")
        assert all(p <= c <= min(1, 2 * count * p) for p, c in zip(raw, corrected, strict=True))


def test_at_other_points_what_stands_at_each_level_and_who_knows_the_defense(army):
    _, _, other = attack_tables(army)
    assert (other.point, other.supervised) == ("", False)
    own = [row for row in cells_of(other) if row["point"] == "cpsample alpha=0.5"]
    assert [row["needs"] for row in own] == ["SAMPLES", "API", "DENOISER", "WEIGHTS"]
    assert [row["attack"] for row in own][2] == "adaptive_cpsample"  # it stands, and is not said twice
    weaker = [row for row in cells_of(other) if row["point"] == "cpsample alpha=0.1"]
    assert [row["attack"] for row in weaker].count("adaptive_cpsample") == 1
    assert {"SAMPLES", "API", "DENOISER", "WEIGHTS"} <= {row["needs"] for row in weaker}
    assert {row["point"] for row in cells_of(other)} == {p.name for p in army.plan.points if p.role != "control"}


def test_what_does_not_apply_is_a_sentence(army, report):
    line = "adaptive_cpsample (at 3 of 5 points): reads what only some defense ships (gate)"
    assert list_inapplicable(army) == [line]
    section = report.split("## Attacks\n")[1].split("\n## ")[0]
    assert f"Not applicable, and so not run:\n\n- {line}.\n" in section
    assert "| adaptive_cpsample | DENOISER | - |" not in report


def skipped(record, reason):
    return record.model_copy(
        update={"metrics": [], "arrays": "", "flags": ["not-applicable"], "info": {"skipped": reason} if reason else {}}
    )


def test_reasons_are_grouped_and_name_attacks_and_points(tmp_path, make_run, run, capsys):
    """By reason; an attack stands once with its points, whatever its seeds and access levels."""
    reasons = {"pia": "no equation to follow.", "secmi": "no equation to follow", "loss": ""}
    points = {"pia": ("baseline",), "secmi": ("baseline", "untrained"), "loss": [p.name for p in run.plan.points]}

    def change(record):
        out = record.point in points.get(record.attack, ())
        return skipped(record, reasons[record.attack]) if out else record

    other = make_run(tmp_path, keep=lambda r: r.family == "membership", change=change)
    lines = [
        "loss (at every point): its record gives no reason",
        "pia (at baseline) and secmi (at baseline and untrained): no equation to follow",
    ]
    assert list_inapplicable(other) == lines
    assert "".join(f"- {line}.\n" for line in lines) in render(other)
    print_table(other)
    shown = " ".join(capsys.readouterr().out.split())
    assert all(f"not run: {line}" in shown for line in lines)


def test_where_every_attack_was_skipped_the_reason_still_stands(tmp_path, make_run):
    run = make_run(
        tmp_path,
        keep=lambda r: (r.point, r.attack) == ("baseline", "pia"),
        change=lambda r: skipped(r, "no equation to follow"),
    )
    section = render(run).split("## Attacks\n")[1].split("\n## ")[0]
    assert "- pia (at baseline): no equation to follow.\n" in section and "Needs" not in section


def test_what_would_have_been_seen_is_rounded_up(army):
    """By the family with the most attacks: more than one attack alone would have seen."""
    seen, level = float(smallest_detectable(army)), max(find_corrected(army, r).level for r in measured(army))
    assert seen - 0.01 < smallest_detectable_auc(250, level) <= seen
    assert smallest_detectable_auc(250) < seen - 0.01


def measured(run):
    return [r for r in run.records if r.family == "membership" and r.metrics]


def test_the_strongest_is_compared_pair_by_pair(army):
    found = list_runners_up(army)
    first = [rival for rival in found if rival.strongest == found[0].strongest]
    assert len(first) == NEXT
    raw = []
    for rival in found:
        pairs = []
        for seed in (0, 1):
            chosen = {r.attack: r for r in army.records if (r.point, r.seed) == ("baseline", seed) and r.metrics}
            pair = delong_pair(*scores(army, chosen[rival.strongest]), *scores(army, chosen[rival.name]))
            assert rival.difference.by_seed[seed] == pair.difference
            pairs.append(pair.p_value)
        raw.append(max(pairs))
    assert [rival.p for rival in found] == pytest.approx(holm(raw))
    assert format_runners_up(army)[0].startswith(f"**baseline**, {found[0].strongest} against: {found[0].name} ")


def test_attacks_that_are_alike_are_not_called_weaker(army):
    for rival in list_runners_up(army):
        summary = rival.difference.summary
        assert ("weaker" in rival.words) == (rival.p < 0.05 and summary.low > 0)
        assert ("not shown to differ" in rival.words) == (
            summary.high >= 0 and not (rival.p < 0.05 and summary.low > 0)
        )


def test_an_attack_that_does_not_apply_is_never_the_strongest(army):
    chosen = [
        r for p in army.plan.points for level in ("DENOISER", "WEIGHTS") for r in strongest(army, p, level).values()
    ]
    assert all(record.metrics for record in chosen)


def test_sets_of_images(army):
    titles, cells = sets(army)
    rows = [dict(zip(titles, row, strict=True)) for row in cells]
    assert [(row["point"], row["needs"]) for row in rows if row["point"] != "untrained"] == [
        *(("baseline", "DENOISER"), ("cpsample alpha=0.1", "DENOISER"), ("cpsample alpha=0.5", "DENOISER"))
    ]
    assert rows[0]["p < 0.01 from"] == "20 images" and rows[2]["p < 0.01 from"] == "not with 100"
    assert rows[0]["null"] == "0.49 [0.03, 0.97] (20 images)"
    assert rows[0]["p, 5 images"] == "0.010 [0.000, 0.050]"


def with_metrics(run, name, **told):
    """The run with metrics (value, low, high, by name) and flags in an attack's records without protection."""
    flags = told.pop("flags", [])
    made = [Metric(name=key, value=v, ci_low=low, ci_high=high, n=9) for key, (v, low, high) in told.items()]
    found = RunFolder(run.path)
    vars(found)["records"] = [
        r.model_copy(update={"metrics": [*r.metrics, *made], "flags": [*r.flags, *flags]})
        if (r.point, r.attack) == ("baseline", name)
        else r
        for r in run.records
    ]
    return found


def test_shares_of_sets(army):
    assert shares(army) is None
    told = {"share_estimate@share=0": (0.02, 0.0, 0.12), "share_estimate@share=0.5": (0.47, 0.34, 0.61)}
    titles, cells = shares(with_metrics(army, "cdi", **told))
    assert titles == ["point", "attack", "needs", "0 % in truth", "50 % in truth"]
    assert cells == [["baseline", "cdi", "DENOISER", "0.02 [0.00, 0.12]", "0.47 [0.34, 0.61]"]]


def test_sets_of_people_have_their_table_too(army):
    told = {"set_p_value@groups=5": (0.4, 0.0, 0.9), "set_p_value@groups=10": (0.0002, 0.0, 0.0008)}
    run = with_metrics(army, "cdi", **told, **{"set_null_p_value@groups=5": (0.5, 0.1, 0.9)})
    vars(run)["records"] = [
        r.model_copy(
            update={
                "metrics": [
                    m
                    for m in r.metrics
                    if not m.name.startswith(("set_p_value@images", "set_null")) or "groups" in m.name
                ],
                "info": {**r.info, "set_groups_needed": 10},
            }
        )
        for r in run.records
    ]
    titles, cells = sets(run)
    assert titles[3:] == ["p, 5 groups", "p, 10 groups", "p < 0.01 from", "null"]
    (row,) = (row for row in cells if row[:2] == ["baseline", "cdi"])
    assert row[3:] == ["0.400 [0.000, 0.900]", "< 0.001", "10 groups", "0.50 [0.10, 0.90] (5 groups)"]


def test_own_samples_have_a_column_where_they_were_scored(army):
    assert not any("over own samples" in table.titles for table in attack_tables(army))
    run = with_metrics(army, "pia", generated_auc=(0.44, 0.38, 0.5), flags=["detects-style"])
    rows = {row["attack"]: row["over own samples"] for row in cells_of(attack_tables(run)[0])}
    assert rows["pia"] == "0.44 [0.38, 0.50] (style)" and rows["loss"] == "-"
    assert "is the AUC of members against the model's own samples" in render(run)


def test_shared_calls_are_told_in_the_report_and_nowhere_else(army, report):
    assert format_shared_calls(army) == [
        "every point: 214 calls an image for 23 questions, 365 if each ran alone: 41 % saved"
    ]
    assert "41 % saved" in report
    cells = {cell for path in write_csv(army) for row in csv.reader(path.read_text().splitlines()) for cell in row}
    assert not cells & {"214.0", "365.0", "23.0"} and "0.192" in cells


def test_of_several_askings_the_one_with_most_attacks_counts(tmp_path, muster_run, army):
    run = muster_run(
        tmp_path, seeds=(0,), points=[{**p.model_dump(), "truth": (1.0, 0.1, 4.0)} for p in army.plan.points[:1]]
    )
    path = next(path for path in (tmp_path / "records").glob("*__loss__DENOISER*"))
    told = json.loads(path.read_text())
    del told["checksum"]
    told["run"]["calls"] = {"together": 3.0, "apart": 3.0, "attacks": 2}
    path.write_text(json.dumps(told))
    ((names, shared),) = list_shared_calls(RunFolder(run.path))
    assert (names, shared.attacks, shared.together) == (["baseline"], 23, 214.0)


def test_the_part_of_the_network_in_the_time_of_attacks(tmp_path, muster_run, army):
    """A pass counts once, however many records tell of it; runs of before say nothing."""
    assert share_in_network(army) is None
    run = muster_run(tmp_path, seeds=(0,), points=[{**army.plan.points[0].model_dump(), "truth": (1.0, 0.1, 4.0)}])
    for path, network in zip(sorted((tmp_path / "records").glob("*DENOISER*")), (3.0, 3.0, 6.0), strict=False):
        told = json.loads(path.read_text())
        del told["checksum"]
        told["run"]["timings"] = {"membership_attacks_together": 10.0, "membership_network_calls": network}
        path.write_text(json.dumps(told))
    again = RunFolder(run.path)
    assert share_in_network(again) == 0.45
    assert "took 45 % of the time" in render(again)


def test_the_gaps_of_many_attacks_are_those_of_the_strongest(army):
    every, shown = list_access_gaps(army), top_access_gaps(army, list_access_gaps(army))
    assert len([gap for gap in every if gap.point == "cpsample alpha=0.5"]) > 10
    assert [gap.point for gap in shown] == ["cpsample alpha=0.1"] * 3 + ["cpsample alpha=0.5"] * 3


def test_of_many_controls_those_that_misbehave_are_never_left_out(army):
    found = list_controls(army)
    assert len(top_controls(found)) == 12 < len(found)
    wrong = [Control(f"x{i}", Estimate(0.6, 0.55, 0.65, 100), exact=True) for i in range(14)]
    right = Control("y", Estimate(0.5, 0.4, 0.9, 100), exact=True)
    assert top_controls([right, *wrong]) == wrong


def test_a_run_without_a_frozen_set_names_none(run):
    assert run.plan.ensemble == ""


def test_the_frozen_set_is_named(army, report, capsys):
    assert "| attacks | strongest 1 |" in report
    print_table(army)
    assert "quick (attacks: strongest 1): the trade-off" in capsys.readouterr().out


def test_the_page_has_no_gap_in_a_table(report):
    section = report.split("## Attacks\n")[1].split("\n## ")[0]
    assert section.count("\n|---|") == 3 and len(section.split("\n\n| ")) == 4

"""Further measures of samples in report.md, and what is said of distances at a number of images."""

from __future__ import annotations

from leakbench.reports.site.report import render

PLAIN = {
    "point": "baseline",
    "defense": "baseline",
    "role": "baseline",
    "quality": {"frechet_heldout": (4.0, 3.0, 5.0)},
}
ASKED = {"frechet_heldout_infinite": (3.0, 2.5, 3.5), "c_t": (-4.2, -5.0, -3.4), "utility": (0.756, 0.7, 0.8)}


def test_what_a_suite_asked_for_stands_in_a_table_with_its_words(tmp_path, tell_run):
    page = render(tell_run(tmp_path, [PLAIN | {"quality": PLAIN["quality"] | ASKED}]))
    section = page.partition("## Further measures of the samples")[2].partition("\n## ")[0]
    assert "| point | distance of infinitely many | C_T | utility |" in section
    assert "| baseline | 3.00 [2.50, 3.50] | -4.20 [-5.00, -3.40] | 75.6 % [70.0, 80.0] |" in section
    assert "**C_T**" in section and "**Vendi score**" not in section
    assert "held-out distance of infinitely many | utility | flags |" in page  # the trade-off's


def test_no_table_where_none_was_asked_for(tmp_path, tell_run):
    assert "## Further measures" not in render(tell_run(tmp_path, [PLAIN]))


def test_distances_say_at_how_many_images_they_are(tmp_path, tell_run):
    """Intervals were read as those of the distance between the two laws, which they never hold."""
    page = " ".join(render(tell_run(tmp_path, [PLAIN])).split())
    n = next(m.n for r in tell_run(tmp_path, [PLAIN]).records for m in r.metrics if m.name == "frechet_heldout")
    assert (
        f"Distances are those of {n} images a side, and their intervals hold the distance expected at that number"
        in page
    )
    assert '`quality.measures = ["fd_infinity"]` in the suite extrapolates to it' in page
    page = " ".join(render(tell_run(tmp_path / "more", [PLAIN | {"quality": PLAIN["quality"] | ASKED}])).split())
    assert 'The column "held-out distance of infinitely many" extrapolates to it.' in page

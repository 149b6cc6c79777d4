"""Distances of different numbers of images never stand side by side."""

from __future__ import annotations

import json

from leakbench.reports.reading.distances import find_floor, has_distances_apart
from leakbench.reports.reading.tradeoff_text import format_tradeoff
from leakbench.reports.site.report import render
from leakbench.results.run_folder import RunFolder


def test_a_floor_of_another_number_of_images_is_left_out(run, tmp_path, make_run):
    """As in records of early versions, whose floor was cut to the smaller of its own two sides."""
    assert find_floor(run) is not None and not has_distances_apart(run)
    apart = make_run(tmp_path / "apart", images=False)
    for path in (apart.path / "records").glob("*quality*.json"):
        record = json.loads(path.read_text())
        record.pop("checksum", None)
        for metric in record["metrics"]:
            metric["n"] = 80 if metric["name"] in ("frechet", "frechet_floor") else metric["n"]
        path.write_text(json.dumps(record))
    apart = RunFolder(apart.path)
    assert find_floor(apart) is None and has_distances_apart(apart)
    titles, cells = format_tradeoff(apart)
    assert {row[titles.index("its floor")] for row in cells} == {"-"}
    assert all(row[1] != "-" for row in cells)
    assert "at another number of images" in render(apart) and "at another number of images" not in render(run)

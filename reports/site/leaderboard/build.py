"""Writes the site: plain files that work from a folder, with the plotting library beside them.

The same results give the same files, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

from leakbench.results.run_folder import RunFolder
from leakbench.results.run_plan import PlannedPoint
from leakbench.results.verified import VerifiedFile
from leakbench.runtime.errors import UsageError
from leakbench.runtime.files import check_writable, write_atomically

from ..templates import load_text, render_page
from .attacks_page import collect_attacks
from .check import check_run, reading
from .defense_page import collect_defense
from .results import Submitted, read_submitted
from .track_page import collect_index, collect_track
from .tracks import list_tracks

_MARKER = "assets/leaderboard.js"
_STALE = ("defense-*.html", "track-*.html")


def write_site(runs: Sequence[RunFolder], out: Path, verified: VerifiedFile) -> Path:
    """Write the site into a folder and return its first page. Raises UsageError for runs that cannot stand on a board,
    for a folder that holds something else, and for checked submissions of which none is given."""
    _check_library()
    _check_folder(out)
    entries = _read_entries(runs)
    _check_verified(entries, verified)
    tracks = list_tracks(entries, verified)
    if not tracks:
        raise UsageError(f"{runs[0].path}: no membership attack was measured, so there is no track to rank on")
    for pattern in _STALE:
        for path in out.glob(pattern):
            path.unlink()
    for name, text in (("style.css", load_text("style.css")), ("leaderboard.js", load_text("leaderboard.js"))):
        write_atomically(out / "assets" / name, text.encode())
    write_atomically(out / "assets" / "vega.js", _bundle_library().encode())
    for track in tracks:
        _write(out / track.page, "track.html.j2", **collect_track(track))
    for entry in entries:
        own = [track for track in tracks if any(entry in row.entries for row, _ in track.rows)]
        for points in _list_defenses(entry):
            with reading(entry.run):
                facts = collect_defense(entry, points, own, verified)
            _write(out / entry.page_of(points[0]), "defense.html.j2", **facts)
    _write(out / "attacks.html", "attacks.html.j2", **collect_attacks(tracks))
    _write(out / "methods.html", "methods.html.j2", title="Methods", leakbench=version("leakbench"))
    index = out / "index.html"
    _write(index, "index.html.j2", **collect_index(tracks))
    return index


def _read_entries(runs: Sequence[RunFolder]) -> list[Submitted]:
    if not runs:
        raise UsageError("leaderboard: no results were given; name the folders of runs")
    entries: dict[str, Submitted] = {}
    for run in runs:
        with reading(run):
            check_run(run)
            entry = read_submitted(run)
        if entry.digest in entries:
            raise UsageError(f"{run.path}: the same run as {entries[entry.digest].run.path}; name it once")
        entries[entry.digest] = entry
    return list(entries.values())


def _check_verified(entries: Sequence[Submitted], verified: VerifiedFile) -> None:
    """Raise UsageError for checked submissions of which none is among the runs: they would change nothing."""
    if verified.submissions and not any(verified.find(entry.digest) for entry in entries):
        raise UsageError(
            f"--verified: no checked submission is one of the runs given ({len(verified.submissions)} in the file); "
            "they go by the digest of the packed run: give the folder that the submission unzips to"
        )


def _list_defenses(entry: Submitted) -> list[list[PlannedPoint]]:
    """The points of a run by their page."""
    found: dict[str, list[PlannedPoint]] = {}
    for point in entry.run.plan.points:
        found.setdefault(entry.page_of(point), []).append(point)
    return list(found.values())


def _check_folder(out: Path) -> None:
    """Raise UsageError for a folder that holds something other than a site of ours."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / _MARKER).is_file())):
        raise UsageError(f"--out {out}: it is there already and is no leaderboard; choose an empty or a new folder")
    check_writable(out, "--out")


def _check_library() -> None:
    try:
        import vl_convert  # noqa: F401
    except ImportError:
        raise UsageError("a leaderboard needs vl-convert-python: pip install 'leakbench[site]'") from None


@cache
def _bundle_library() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, as the package vl-convert-python has them."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def _write(path: Path, template: str, **facts: object) -> None:
    write_atomically(path, render_page(template, **facts).encode())

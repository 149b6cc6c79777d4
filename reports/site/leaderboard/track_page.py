"""Facts of the index and of the page of a track."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...reading.distances import distance_name
from ...reading.formatting import format_calls, format_distance, rate_title
from .cells import Cell, Table, auc_cell, calls_cell, distance_cell, make_table, number_cell, share_cell, word_cell
from .charts import plot_tradeoff
from .method import describe_method
from .ranking import Place
from .row import Row
from .tracks import Track

ACCESS = {
    "SAMPLES": "The adversary sees generated images and nothing else.",
    "API": "The adversary may ask a hosted model for samples, variations of an image and inpainting.",
    "DENOISER": "The adversary may query the noise prediction as the defended service answers it.",
    "WEIGHTS": "The adversary holds the weights and all that ships with them.",
}
NONE_PROTECTS = "none is shown to leak less than its baseline"
NOT_LESS = "not shown to leak less than its baseline"
MOVES = {
    "fell": "less than its baseline",
    "rose": "more than its baseline",
    "same": "the same as its baseline",
    "": NOT_LESS,
}
_VOID = "void"


def collect_index(tracks: Sequence[Track]) -> dict[str, Any]:
    """The table of all tracks."""
    columns = [("track", False), ("attacks", False), ("sizes and features", False), ("ranked", True), ("rows", True)]
    columns += [("least leak", False), ("least worst case, AUC", True)]
    table = make_table("Tracks", columns, [_index_row(track) for track in tracks], filters=True)
    return {"title": "Leaderboard", "table": table, "void": [track.title for track in tracks if track.void]}


def _index_row(track: Track) -> list[Cell]:
    return [
        word_cell(track.title, track.page),
        word_cell(track.setting.ensemble.title),
        word_cell(track.setting.sizes),
        number_cell(track.ranked, str(track.ranked)),
        number_cell(len(track.rows), str(len(track.rows))),
        _leader_cell(track),
        auc_cell(track.leaders[0].auc if track.ranked else None),
    ]


def _leader_cell(track: Track) -> Cell:
    """The least leaking defense: no winner is named among equals, nor where none leaks less than its baseline."""
    if not track.ranked:
        return word_cell(_VOID if track.void else "")
    if not track.protects:
        return word_cell(NONE_PROTECTS)
    leaders = track.leaders
    notes = [] if all(row.move == "fell" for row in leaders) else [NOT_LESS]
    if len(leaders) > 1:
        return word_cell(f"{len(leaders)} defenses, tied", notes=notes)
    first = leaders[0]
    return word_cell(first.point.name, first.entry.page_of(first.point), notes)


def collect_track(track: Track) -> dict[str, Any]:
    """The table and the plot of a track."""
    run = track.rows[0][0].entry.run
    return {
        "title": track.title,
        "track": track,
        "access": ACCESS[track.access],
        "void": track.void,
        "table": build_table(f"Defenses on {track.title}, the least leak first", track.rows),
        "chart": plot_tradeoff(track.rows, distance_name(run)),
    }


def build_table(caption: str, rows: Sequence[tuple[Row, Place | None]]) -> Table:
    """The table of rows of one track, in the order given."""
    run = rows[0][0].entry.run
    copies = list(dict.fromkeys(label for row, _ in rows for label in row.copies))
    columns = [("rank", True), ("defense", False), ("worst case, AUC", True), ("strongest attack", False)]
    columns += [("state", False), ("flags", False), (rate_title(run.plan.headline), True), ("queries an image", True)]
    columns += [(f"{distance_name(run)}, held-out", True)]
    columns += [(f"copies beyond null, {label}", True) for label in copies]
    columns += [("training, s", True), ("guaranteed epsilon", True)]
    return make_table(caption, columns, [_cells(row, place, copies) for row, place in rows], filters=True)


def _cells(row: Row, place: Place | None, copies: Sequence[str]) -> list[Cell]:
    floor = f"floor {format_distance(row.floor)}" if row.floor else ""
    return [
        number_cell(place.rank if place else None, place.words if place else ""),
        word_cell(
            row.point.name,
            row.entry.page_of(row.point),
            [row.unranked, _describe(row), f"run {row.entry.label}"],
            [(f"and run {one.entry.label}", one.entry.page_of(one.point)) for one in row.also],
        ),
        auc_cell(row.auc, MOVES[row.move] if place else ""),
        word_cell(row.attack),
        word_cell(row.state),
        word_cell(", ".join(row.flags)),
        share_cell(row.tpr, f"by {row.rate_attack}" if row.rate_attack else ""),
        calls_cell(row.queries),
        distance_cell(row.distance, floor),
        *(share_cell(row.copies.get(label)) for label in copies),
        _cost_cell(row),
        number_cell(row.epsilon_value, row.epsilon, row.adjacency),
    ]


def _describe(row: Row) -> str:
    """The method of a defense whose name does not say it."""
    return describe_method(row.entry.run.plan, row.point) if row.point.is_compared else ""


def _cost_cell(row: Row) -> Cell:
    """Seconds of training, with the evaluations of the network below."""
    evaluations = row.cost.evaluations
    return number_cell(row.cost.seconds, note="" if evaluations is None else f"{format_calls(evaluations)} evaluations")

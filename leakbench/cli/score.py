"""`leakbench score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leakbench.cli.app import app, one_thread_a_process


@app.command(
    help="""Evaluate scores from a script of your own as an attack's are: AUC, TPR, verdicts, flags.

    \b
    Examples:
      leakbench score my_scores.npz
    The file holds member_scores and nonmember_scores (or scores and member), higher = more likely a member;
    optional: calibration_member_scores and calibration_nonmember_scores, member_labels and nonmember_labels, and whose
    each image is: member_group and nonmember_group.
    """
)
def score(file: Annotated[Path, typer.Argument(metavar="FILE.npz", help="Scores, one number an image.")]) -> None:
    one_thread_a_process()
    from rich.console import Console

    from leakbench.cli.score_tables import tables
    from leakbench.interface.score_file import read_score_file
    from leakbench.interface.score_results import ScoreResults

    read = read_score_file(file)
    for table in tables(read, ScoreResults(read.arrays)):
        Console(markup=False, emoji=False).print(table)
        print()

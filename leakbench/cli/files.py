"""`leakbench files`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leakbench.cli.app import PluginOption, app, load_plugins, one_thread_a_process


@app.command(
    help="""Name the files of a run's images: scores of members, the members nearest to samples, near-duplicates.

    \b
    Example:
      leakbench files runs/audit-my_pipeline
    A run names no file. This reads the folders of images again, on a machine that has them, and writes scores.csv,
    copies.csv, near_duplicates.csv, overlap.csv and, where it asked about captions, prompts.csv beside the run's
    folder, not into it: who gets the results learns no names.
    """
)
def files(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the tables (default: RUN-files).")] = None,
    plugin: PluginOption = None,
) -> None:
    one_thread_a_process()
    from leakbench.results.run_folder import open_run
    from leakbench.runner.named_files import write_named_files

    load_plugins(plugin)
    folder = run.resolve()
    for path in write_named_files(open_run(run), out or folder.with_name(f"{folder.name}-files")):
        print(path)

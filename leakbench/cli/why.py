"""`leakbench why`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from leakbench.cli.app import PluginOption, app, load_plugins, one_thread_a_process

if TYPE_CHECKING:
    from leakbench.suite.suite import Suite


@app.command(
    help="""Tell why trainings and records would be made (again) by the same run.

    \b
    Examples:
      leakbench why runs/quick
      leakbench why quick --set defense.baseline.steps=800
    What a run made is compared with what it would make now: parameters, data, the code that a training or a
    measurement reaches, and the versions of the libraries which that code imports.
    """
)
def why(
    run: Annotated[str, typer.Argument(metavar="RUN_OR_SUITE", help="The folder of a run, a suite, or its file.")],
    out: Annotated[Path | None, typer.Option(help="Of a suite: the folder of its run (default: runs/SUITE).")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change the suite.")] = None,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where it would be computed.")] = "auto",
    plugin: PluginOption = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="As in `leakbench run`.")] = False,
) -> None:
    one_thread_a_process()
    from leakbench.measurement.inputs import RunInputs
    from leakbench.measurement.releases import ReleaseBuilder
    from leakbench.reports.reading.width import prose_width
    from leakbench.reports.tables.columns import wrap
    from leakbench.runner.extension import Extension, extend_run
    from leakbench.runner.plan import Plan
    from leakbench.runner.up_to_date import FinishedRecords
    from leakbench.runner.why import Explanation, format_reasons
    from leakbench.runtime.cache.location import cache_root
    from leakbench.runtime.device import resolve_device
    from leakbench.runtime.errors import UsageError
    from leakbench.runtime.run_config import RunConfig

    load_plugins(plugin)
    suite, folder = _suite_and_folder(run, out, tuple(settings or ()))
    config = RunConfig(folder, cache_root(), resolve_device(device), not no_images)
    finished = FinishedRecords(folder)
    try:
        extension = extend_run(folder, suite, finished)
    except UsageError:  # a run would not add to this folder: the suite is compared with it by itself
        extension = Extension(suite, suite)
    builder = ReleaseBuilder(RunInputs(extension.suite, config))
    reasons = format_reasons(Explanation(Plan(builder, "missing", extension, finished)).reasons())
    for reason in reasons:
        print("\n".join(wrap(reason, prose_width())))
    if not reasons:
        print(f"{folder}: nothing would be made again")


def _suite_and_folder(run: str, out: Path | None, overrides: tuple[str, ...]) -> tuple[Suite, Path]:
    from leakbench.results.run_folder import RunFolder
    from leakbench.suite.load import build_suite, load

    plan = Path(run) / "plan.json"
    if plan.is_file():
        return build_suite(dict(RunFolder(Path(run)).plan.settings), str(plan), overrides), Path(run)
    suite = load(run, overrides)
    return suite, out or Path("runs") / suite.file.name

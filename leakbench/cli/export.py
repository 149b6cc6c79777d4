"""`leakbench export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from leakbench.cli.app import PluginOption, app, load_plugins, one_thread_a_process
from leakbench.runtime.errors import UsageError, nearest_name

if TYPE_CHECKING:
    from leakbench.suite.release_spec import ReleaseSpec
    from leakbench.suite.suite import Suite


@app.command(
    help="""Write the network of a release as a diffusers pipeline folder, for other tools.

    \b
    Examples:
      leakbench export runs/mine my_pipeline --point baseline
      leakbench export runs/mine/records/baseline__pia__DENOISER__seed0.json my_pipeline
    Only the raw network is written: of a defense around the sampler, say --raw.
    """
)
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN_OR_RECORD", help="The folder of a run, or one of its records.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.")],
    point: Annotated[str | None, typer.Option(help="Which release of a run (default: its first).")] = None,
    seed: Annotated[int | None, typer.Option(help="Which seed of a run (default: its first).")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Leave the defense around the sampler behind.")] = False,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where it was trained.")] = "auto",
    plugin: PluginOption = None,
) -> None:
    one_thread_a_process()
    from leakbench.measurement.inputs import RunInputs
    from leakbench.measurement.releases import ReleaseBuilder
    from leakbench.models.diffusers_export import write
    from leakbench.results.record_files import read_record
    from leakbench.results.run_folder import open_run
    from leakbench.runner.export import check_exportable, drop_given_models, load_release
    from leakbench.runner.process import start_process
    from leakbench.runtime.cache.location import cache_root
    from leakbench.runtime.run_config import RunConfig
    from leakbench.suite.load import build_suite

    load_plugins(plugin)
    folder = run
    if run.is_file():
        record = read_record(run)
        folder, point, seed = run.parent.parent, record.point, record.seed
    plan = open_run(folder).plan
    suite = build_suite(plan.settings, str(folder / "plan.json"))
    chosen, of_seed = _choose_point(suite, point), _choose_seed(suite, seed)
    suite = drop_given_models(suite, chosen)  # a plan may be somebody else's: no code that it names is run
    builder = ReleaseBuilder(RunInputs(suite, RunConfig(folder, cache_root(), start_process(device))))
    release = load_release(builder, chosen, of_seed, plan.command_line)
    check_exportable(release, chosen, raw)
    write(release, out)
    print(f"{out}: {chosen.label}, seed {of_seed}: load it with DDIMPipeline.from_pretrained({str(out)!r})")
    if release.conditions:
        print(f"its UNet takes class_labels, 0 to {release.conditions - 1}, which the pipeline does not ask for")


def _choose_point(suite: Suite, label: str | None) -> ReleaseSpec:
    labels = {point.label: point for point in suite.points}
    if label is None:
        return suite.points[0]
    if label not in labels:
        raise UsageError(f"--point {label!r}: no such release in the run; {nearest_name(label, labels)}")
    return labels[label]


def _choose_seed(suite: Suite, seed: int | None) -> int:
    if seed is None:
        return suite.file.seeds[0]
    if seed not in suite.file.seeds:
        raise UsageError(f"--seed {seed}: no such seed in the run; it has {', '.join(map(str, suite.file.seeds))}")
    return seed

"""`leakbench audit`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from leakbench.cli.app import (
    VOID,
    CellLimitOption,
    PluginOption,
    WideOption,
    answer_interrupts,
    app,
    finish,
    one_thread_a_process,
)
from leakbench.cli.lines import print_lines
from leakbench.runtime.errors import UsageError, to_printable


@app.command(
    help="""Audit a model of your own: what does it give away about the images it was trained on?

    \b
    Examples:
      leakbench audit my_pipeline --members train/ --nonmembers heldout/
      leakbench audit my_pipeline --members train.npz --nonmembers heldout.npz --attacks all --plan
      leakbench audit base_pipeline --lora mine.safetensors --members train/ --nonmembers heldout/ --captions txt
      leakbench audit --samples generated/ --members train/ --nonmembers heldout/
      leakbench audit --endpoint http://127.0.0.1:8000/generate --members train/ --nonmembers heldout/
      leakbench audit --checkpoints 'run/checkpoint-*' --members train/ --nonmembers heldout/
    DIR: a folder of images (of any depth), an .npz file, or the name of a data set. No picture of a member is kept, but
    by --images.
    """
)
def audit(
    model: Annotated[str | None, typer.Argument(help="A diffusers pipeline: its folder, or a hub id.")] = None,
    members: Annotated[str, typer.Option(help="Images that it was trained on.", metavar="DIR")] = ...,  # type: ignore[assignment]
    nonmembers: Annotated[str, typer.Option(help="Images like them that it was not.", metavar="DIR")] = ...,  # type: ignore[assignment]
    samples: Annotated[
        str | None, typer.Option(help="Generated images, where there is no model.", metavar="DIR")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="In place of MODEL: a hosted one, by its address or a TOML file.", metavar="URL")
    ] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(help="In place of MODEL: checkpoint-STEP folders of one run, a curve.", metavar="'PATTERN'"),
    ] = None,
    out: Annotated[str | None, typer.Option(help="Folder for the results (default: runs/audit-MODEL).")] = None,
    size: Annotated[int | None, typer.Option(min=2, help="Resize and crop the images of folders.")] = None,
    captions: Annotated[
        str | None, typer.Option(help="CSV of file,caption; or txt: a .txt beside every image.")
    ] = None,
    lora: Annotated[str | None, typer.Option(help="LoRA or its kin on the MODEL: a file or folder.")] = None,
    base: Annotated[str | None, typer.Option(help="The model that MODEL was fine-tuned from.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="How much more of a caption a model draws.")] = None,
    attacks: Annotated[str, typer.Option(help="standard, strongest, all, or names with commas.")] = "standard",
    defense: Annotated[list[str] | None, typer.Option(help="A sampling-time defense to put around it.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="As in leakbench run.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw of calibration images, and of all noise.")] = 0,
    plan: Annotated[bool, typer.Option("--plan", help="Print what would be run, and stop.")] = False,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes (default: one a core, or one a CUDA device).")
    ] = None,
    rerun: Annotated[
        Literal["missing", "failed", "all"], typer.Option(help="As in leakbench run: all replaces what --out holds.")
    ] = "missing",
    cell_limit: CellLimitOption = None,
    images: Annotated[bool, typer.Option("--images", help="Keep pictures of members beside what copies them.")] = False,
    skip_broken: Annotated[bool, typer.Option("--skip-broken", help="Leave out images that do not decode.")] = False,
    convert: Annotated[
        bool, typer.Option("--convert", help="Make 16 bits, transparency, CMYK 8-bit grey or RGB, on all sides alike.")
    ] = False,
    upright: Annotated[bool, typer.Option("--upright", help="Turn images as their EXIF says, on all sides.")] = False,
    levels: Annotated[
        str | None, typer.Option(metavar="LOW:HIGH", help="Black and white of float or 16-bit images.")
    ] = None,
    labels: Annotated[
        Literal["folder"] | None, typer.Option(help="folder: subfolders are classes (else labels.csv).")
    ] = None,
    groups: Annotated[
        str | None, typer.Option(help="CSV of file,group: whose each image is.", metavar="FILE.csv")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="The same: folder, or in file names, 'patient-([0-9]+)'.")
    ] = None,
    trust_pickle: Annotated[bool, typer.Option("--trust-pickle", help="Load weights that can run code.")] = False,
    trust_code: Annotated[bool, typer.Option("--trust-code", help="Run a pipeline's own code.")] = False,
    wide: WideOption = False,
    plugin: PluginOption = None,
) -> None:
    one_thread_a_process()
    options: dict[str, Any] = {
        "model": model,
        "members": members,
        "nonmembers": nonmembers,
        "samples": samples,
        "endpoint": endpoint,
        "out": out,
        "size": size,
        "captions": captions,
        "lora": lora,
        "base": base,
        "guidance": guidance,
        "attacks": attacks,
        "defenses": defense or (),
        "settings": settings or (),
        "seed": seed,
        "device": device,
        "workers": workers,
        "rerun": rerun,
        "cell_limit": cell_limit,
        "skip_broken": skip_broken,
        "convert": convert,
        "upright": upright,
        "levels": levels,
        "labels": labels,
        "groups": groups,
        "group_by": group_by,
        "trust_pickle": trust_pickle,
        "trust_code": trust_code,
        "plugins": plugin or (),
    }
    with answer_interrupts():
        if checkpoints is not None:
            _audit_checkpoints(checkpoints, options | {"images": images}, plan)
            return
        lacking = _print_outline(options) if plan else ""
        if lacking is None:
            return
        from leakbench.interface.audit import prepare_audit

        prepared = prepare_audit(**options, images=images)
        if lacking:
            print(f"leakbench: {lacking}: images were decoded for this plan, which takes longer", file=sys.stderr)
        _print_left_out(prepared.left_out)
        finish(prepared.run, plan, wide)


def _print_outline(options: dict[str, Any]) -> str | None:
    """Print a plan by headers, or answer what they do not tell."""
    from leakbench.interface.audit_plan import NotInHeaders, outline_audit

    try:
        lines, left_out = outline_audit(**options)
    except NotInHeaders as error:
        return str(error)
    _print_left_out(left_out)
    print_lines(lines)
    return None


def _print_left_out(objections: dict[str, str]) -> None:
    for name, objection in objections.items():
        print(f"leakbench: left out: {name}: {objection}", file=sys.stderr)


def _audit_checkpoints(pattern: str, options: dict[str, Any], plan: bool) -> None:
    """Audit the checkpoints of a run and print their table; or print the plan of the last. Exit code 1 where something
    failed, VOID where the track is void."""
    from leakbench.interface.checkpoint_series import CheckpointSeries, find_checkpoints, format_table

    model, out = options.pop("model"), options.pop("out")
    if model is not None or options["samples"] is not None or options["endpoint"] is not None:
        raise UsageError("--checkpoints: goes in place of MODEL, --samples and --endpoint")
    found = find_checkpoints(pattern)
    last = found[max(found)]
    folder = Path(out) if out else Path("runs") / f"audit-{last.resolve().parent.name}"
    series = CheckpointSeries(found, folder, options)
    if plan:
        from leakbench.interface.audit import prepare_audit

        series.check()
        print_lines(prepare_audit(last, out=series.folder(max(found)), **options).run.describe())
        print(f"{len(found)} checkpoints, each as the last above: steps {', '.join(map(str, found))}")
        return
    from leakbench.interface.execution import RunFailed

    series.check()
    try:
        for step in series.run():
            print(f"leakbench: step {step} is audited: {series.folder(step)}", file=sys.stderr)
    except RunFailed as failed:
        for failure in failed.failures.values():
            print(f"leakbench: failed: {to_printable(failure)}", file=sys.stderr)
        raise typer.Exit(1) from None
    written = series.write()
    print_lines(format_table(series.list_rows()))
    print(", ".join(map(str, written)))
    if series.list_void():
        raise typer.Exit(VOID)

"""Races: ours, its peers and a physical floor one after the other in each round, so that a busy machine slows all.

    uv pip install --group speed
    pytest benchmarks/speed -s --page docs/performance.md

What counts is the processor time of this process on the CPU, on one thread; on a CUDA device the time until it is idle.
A first round of each warms up. The ratio of a race is the median over rounds of the fastest peer's time over ours.
`--page` writes the races of a session as a page, with a figure beside it: ratios alone, as seconds are another
machine's; of a CUDA device, which is named, seconds as well.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_limits

Go = Callable[[], object]


@dataclass(frozen=True)
class Race:
    """Races of one test. `at_least` and `at_most` are goals of the ratio; with `at_most` it is ours over the peer's."""

    benchmark: Any

    def __call__(
        self,
        claim: str,
        ours: Go,
        peers: Mapping[str, Go],
        floor: Go | None = None,
        floor_name: str = "",
        *,
        rounds: int = 3,
        at_least: float | None = None,
        at_most: float | None = None,
        device: str = "cpu",
        anew: bool = False,
    ) -> dict[str, object]:
        """Time all in turn, print and keep the medians and the ratio to the fastest peer, and hold it to its goal.
        Returns everybody's answers. anew: each is called for what is to be timed, before every round."""
        if not peers:
            pytest.skip("no peer is installed: uv pip install --group speed")
        runners = {"ours": ours, **peers} | ({"floor": floor} if floor else {})
        times: dict[str, list[float]] = {name: [] for name in runners}
        answers: dict[str, object] = {}

        def take_turns() -> None:
            for name, go in runners.items():
                seconds, answers[name] = timed(go() if anew else go, device)  # type: ignore[arg-type]
                times[name].append(seconds)

        self.benchmark.pedantic(take_turns, rounds=rounds, warmup_rounds=1)
        times = {name: taken[1:] for name, taken in times.items()}
        middle = {name: statistics.median(taken) for name, taken in times.items()}
        peer = min(peers, key=middle.__getitem__)
        ratio = statistics.median(a / b for a, b in zip(times[peer], times["ours"], strict=True))
        ratio = 1 / ratio if at_most is not None else ratio
        self.benchmark.extra_info.update(
            claim=claim,
            ours=middle["ours"],
            peer_name=peer,
            peers={name: middle[name] for name in peers},
            ratio=ratio,
            at_least=at_least,
            at_most=at_most,
            floor=middle.get("floor"),
            floor_name=floor_name,
            device=torch.cuda.get_device_name() if device == "cuda" else "",
        )
        seconds = ", ".join(f"{name} {value:.3g} s" for name, value in middle.items())
        words = f"{ratio:.3g} times the time of" if at_most is not None else f"{ratio:.3g} times as fast as"
        print(f"\n{claim}: {words} {peer} ({seconds}{f'; the floor is {floor_name}' if floor else ''})")
        assert at_least is None or ratio >= at_least, f"{claim}: {ratio:.3g}, and the goal is {at_least}"
        assert at_most is None or ratio <= at_most, f"{claim}: {ratio:.3g}, and the goal is at most {at_most}"
        return answers


@dataclass(frozen=True)
class Facts:
    """Numbers of one test that are no race: how cost grows, what a fixed part takes."""

    benchmark: Any

    def __call__(self, claim: str, value: float, unit: str = "", *, at_most: float | None = None) -> None:
        """Print and keep a number, and hold it to its goal."""
        self.benchmark.extra_info.setdefault("facts", []).append(
            {"claim": claim, "value": value, "unit": unit, "at_most": at_most}
        )
        print(f"\n{claim}: {value:.3g} {unit}")
        assert at_most is None or value <= at_most, f"{claim}: {value:.3g}, and the goal is at most {at_most}"


@pytest.fixture
def fact(benchmark) -> Facts:
    benchmark.pedantic(lambda: None, rounds=1)  # so that the session knows of this test
    return Facts(benchmark)


def timed(go: Go, device: str) -> tuple[float, object]:
    """Seconds and the answer."""
    if device == "cpu":
        began = time.process_time()
        answer = go()
        return time.process_time() - began, answer
    torch.cuda.synchronize()
    began = time.perf_counter()
    answer = go()
    torch.cuda.synchronize()
    return time.perf_counter() - began, answer


@pytest.fixture
def race(benchmark) -> Iterator[Race]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the peers
        yield Race(benchmark)
    torch.set_num_threads(before)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--page", type=Path, help="Write the races of this session as a page in Markdown.")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    page: Path | None = session.config.getoption("--page")
    found = getattr(session.config, "_benchmarksession", None)
    told = [one.extra_info for one in found.benchmarks] if found else []
    races = [dict(one) for one in told if "claim" in one]
    facts = [fact for one in told for fact in one.get("facts", ())]
    if page and races:
        page.write_text(write_page(races, facts, page), encoding="utf-8")


def write_page(races: list[dict[str, Any]], facts: list[dict[str, Any]], page: Path) -> str:
    """The page of races and facts, after its figure is drawn."""
    figure = draw(races, page.parent / "figures" / f"{page.stem}.png")
    rows = [
        "| | ratio | goal | to | ours over the floor | floor |",
        "|---|---|---|---|---|---|",
        *(
            f"| {one['claim']} | {said(one['ratio'])} | {goal(one)} | {one['peer_name']} | {over_floor(one)} | "
            f"{one['floor_name']} |"
            for one in races
        ),
    ]
    others = [
        "| | | goal |",
        "|---|---|---|",
        *(f"| {one['claim']} | {said(one['value'])} {one['unit']} | {limit(one)} |" for one in facts),
    ]
    return TEXT.format(
        facts="\n".join(others),
        machine=f"{cpu_name()}, Python {platform.python_version()}, torch {torch.__version__}",
        figure=f"{figure.parent.name}/{figure.name}",
        table="\n".join(rows),
    )


def said(value: float) -> str:
    return f"{value:.2g}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def goal(one: dict[str, Any]) -> str:
    if one.get("at_most") is not None:
        return f"at most {one['at_most']:g} times its time"
    return "" if one.get("at_least") is None else f"{one['at_least']:g} times as fast"


def limit(one: dict[str, Any]) -> str:
    return "" if one["at_most"] is None else f"at most {one['at_most']:g} {one['unit']}"


def over_floor(one: dict[str, Any]) -> str:
    seconds = f" ({one['ours']:.3g} s on {one['device']})" if one.get("device") else ""
    return f"{said(one['ours'] / one['floor'])}{seconds}" if one["floor"] else seconds.strip(" ()")


def draw(races: list[dict[str, Any]], path: Path) -> Path:
    """A dot a race: how many times as fast as its fastest peer, on a logarithmic axis."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    speeds = [one["ratio"] if one.get("at_most") is None else 1 / one["ratio"] for one in races]
    goals = [one.get("at_least") if one.get("at_most") is None else 1 / one["at_most"] for one in races]
    figure, axes = pyplot.subplots(figsize=(7.5, 1.0 + 0.28 * len(races)), layout="constrained")
    places = range(len(races), 0, -1)
    axes.axvline(1, color="0.7", linewidth=1)
    axes.hlines(places, 1, speeds, color="#0072B2", linewidth=1)
    axes.plot(speeds, places, "o", color="#0072B2", label="measured")
    marked = [(value, place) for value, place in zip(goals, places, strict=True) if value is not None]
    if marked:
        axes.plot(*zip(*marked, strict=True), "|", color="#D55E00", markersize=11, markeredgewidth=2, label="goal")
    axes.set_xscale("log")
    ticks = [value for value in (0.25, 0.5, 1, 2, 4, 8, 16, 32) if min(speeds) / 1.5 <= value <= max(speeds) * 1.5]
    axes.set_xticks(ticks, [f"{value:g}" for value in ticks])
    axes.set_ylim(0.2, len(races) + 0.8)
    axes.minorticks_off()
    axes.set_yticks(list(places), [f"{one['claim']}\nto {one['peer_name']}" for one in races], fontsize=6)
    axes.set_xlabel("times as fast as the fastest peer")
    axes.legend(loc="best", fontsize=7, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return path


def cpu_name() -> str:
    """The processor's name, and its cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


TEXT = """# Performance

How fast leakbench is beside what its users would pick instead. This page is made by

    uv pip install --group speed
    pytest benchmarks/speed -s --page docs/performance.md

In each round ours, its peers and a physical floor take turns in one process on the same inputs, on one thread; counted
is the time of the processor, so that a busy machine slows all alike. A ratio is the median over rounds of the fastest
peer's time over ours (above 1: ours is faster), or ours over the peer's where the goal says "its time". The floor is
what no such method can do without, such as one matrix product: the column says how many times as long ours takes.
Seconds of races are left out, as they are those of this machine; ratios move by some tenths between machines.

Measured on: {machine}.

![Times as fast as the fastest peer]({figure})

{table}

Where a goal is missed the reason is known:

- An attack alone, a walk of the sampler and a private gradient of a UNet are the network's calls and at most a few per
  cent of their time beside: there is nothing left to be faster by, and a tie falls to either side of 1. What leakbench
  saves are calls that attacks share, which no plain loop does.
- A last batch that is not full is filled up to the next of a few fixed sizes, so that results do not depend on how many
  processes share the work: 41 images in batches of 32 run as 48.
- bf16 on the CPU is faster on some processors (1.0 to 1.6 times on an AMD EPYC), slower on others (0.6 to 0.7 on an
  Intel Xeon), and moves answers by more than a per cent, and with them scores: attacks run in float32.
  channels_last moves no score, and its gain on the CPU is too small for a second layout of every network.
- The nearest neighbours use oneDNN's product, which is about twice as fast as that of MKL on an AMD EPYC; on others the
  ratio will differ.

## What more costs

{facts}

The harness of `quick` (once more with nothing to do, and its report) is above a twentieth of it: `quick` computes for
about a minute of a processor, and what imports torch and draws a report with seven figures takes some seconds whatever
is computed. The plan of 10,007 cells is Python on one core: 1.4 s on an AMD EPYC, 3.2 to 3.6 s on an Intel Xeon beside
other work.
"""

"""Results of a run, as Python reads them."""

from __future__ import annotations

from html import escape
from math import nan
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leakbench.interface.differences import Differences
from leakbench.interface.judgements import Judgements
from leakbench.interface.options import PathName
from leakbench.interface.shown import Names, choose_shown
from leakbench.reports.claims.claim import Claim, read_claims
from leakbench.reports.claims.diff import diff_runs
from leakbench.reports.claims.judge import judge_claim, judge_claims
from leakbench.reports.claims.words import explain
from leakbench.reports.figures.canvas import PAGE
from leakbench.reports.figures.registry import CHARTS, draw
from leakbench.reports.reading.aggregate import aggregate
from leakbench.reports.reading.tradeoff_short import shorten_tradeoff
from leakbench.reports.reading.verdicts import list_verdicts
from leakbench.reports.reading.void import list_void_reasons
from leakbench.reports.reading.width import read_width
from leakbench.reports.recipes.registry import collect_recipe, list_values
from leakbench.reports.tables.paper.registry import list_tables
from leakbench.reports.tables.paper.render import render
from leakbench.reports.tables.terminal import format_short
from leakbench.results.record import ACCESS_LEVELS, Record
from leakbench.results.run_folder import RunFolder, open_run
from leakbench.runtime.errors import UsageError, nearest_name
from leakbench.runtime.paths import user_path
from leakbench.runtime.toml_file import validate
from leakbench.statistics import Estimate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Results:
    """Results of a run: numbers from the records in its folder, which are read on first use and kept."""

    def __init__(self, run: RunFolder) -> None:
        self._run = run

    @property
    def path(self) -> Path:
        """The folder of the run: records, arrays, tables, figures and report.md."""
        return self._run.path

    @property
    def void(self) -> tuple[str, ...]:
        """The reasons for which no membership result of this run says anything; empty where its track is sound."""
        return tuple(reason.words for reason in list_void_reasons(self._run))

    def table(self) -> pd.DataFrame:
        """The trade-off, one row a point, with every number of the table that `--wide` prints.

        Columns: `point`, `defense`, `role`, `seeds`, `features`; the quality metrics, `frechet_heldout` among them; for
        each access level `LEVEL_attack`, the strongest attack, `LEVEL_auc` and `LEVEL_` with the headline metric of the
        suite, as `denoiser_tpr@fpr=0.1`; copying beyond the null; `flags`, with ";" between them. Rates and AUCs are in
        [0, 1]. Beside each number `NAME` stand the bounds of its 95 % interval, `NAME_low` and `NAME_high`; NaN where
        there is none. Those of AUCs and TPRs hold together for all attacks on the release. docs/reading.md says what
        each column means.

        Printed, and in a notebook, it shows the few columns of the command line's table; it holds all of them.
        """
        from leakbench.interface.tradeoff_frame import TradeoffFrame

        return TradeoffFrame(self._run)

    def verdicts(self) -> pd.DataFrame:
        """The verdicts of the report, a row a point and access level: `point`, `access`, `attack` (as tables name the
        one that stands there), `verdict`: two-sided and in words, from the intervals."""
        import pandas as pd

        rows = [
            (point.name, level, one.attack, one.words)
            for point in self._run.plan.points
            for one in list_verdicts(self._run, point)
            for level in one.levels
        ]
        return pd.DataFrame(rows, columns=["point", "access", "attack", "verdict"])

    def metric(
        self,
        point: str,
        attack: str,
        metric: str,
        access: str | None = None,
        seed: int | None = None,
        *,
        raw: bool = False,
    ) -> Estimate:
        """A metric of an attack at a point: `value` with its 95 % interval `low`, `high`, and `n`, the number of images
        (or samples) that it rests on. All are NaN, but `n`, where it could not be computed.

        - point: a defense with its swept parameters, as tables name it: "cpsample alpha=0.25".
        - attack: its id in the suite, or "quality" for the metrics of generated images.
        - metric: as results.csv names it: "auc", "tpr@fpr=0.1", "frechet_heldout". AUCs and TPRs are read with the sign
          that the calibration images asked for at each seed, as in all tables.
        - access: None for the least at which the attack was measured: what it asks of the defended service.
        - seed: None for all seeds together, as summary.csv has them.
        - raw: read AUCs and TPRs as the attack scored, whichever way round that is.

        Raises UsageError for a name that is not there, and where the attack was not run.
        """
        found = self._narrow(self._run.records, "point", point)
        found = self._narrow(found, "attack", attack)
        found = self._narrow(found, "access", access or min({r.access for r in found}, key=ACCESS_LEVELS.index))
        found = found if seed is None else self._narrow(found, "seed", seed)
        reasons = {reason for record in found if not record.metrics and (reason := record.info.get("skipped"))}
        if reasons and not any(record.metrics for record in found):
            raise UsageError(f"{self.path}: {attack} was not run at {point}: {'; '.join(sorted(map(str, reasons)))}")
        if not raw and any(record.metric(f"oriented_{metric}") for record in found):
            metric = f"oriented_{metric}"
        counts = [one.n for record in found if (one := record.metric(metric)) is not None]
        if not counts:
            names = {one.name for record in found for one in record.metrics}
            raise UsageError(f"{self.path}: no metric {metric!r} of {attack}; {nearest_name(metric, names)}")
        over_seeds = aggregate(found, metric)
        if over_seeds is None:
            return Estimate(nan, nan, nan, min(counts))
        estimate: Estimate = over_seeds.estimate
        return estimate

    def latex(self, table: str = "tradeoff", points: Names = None, attacks: Names = None, columns: Names = None) -> str:
        """A table as LaTeX, a float that compiles as it stands with booktabs, siunitx and graphicx (docs/papers.md).

        - table: "tradeoff", "attacks", "copies", "forgetting", "fairness" or "guarantees".
        - points, attacks, columns: names of those shown; None for all. The strongest attack is that of those shown.

        Raises UsageError for a name that this run lacks, or for a table that it says nothing of.
        """
        shown = choose_shown(self._run, points, attacks, columns)
        tables = {one.name: one for one in list_tables(shown)}
        if table not in tables:
            raise UsageError(f"{self.path}: no table {table!r} here; {nearest_name(table, tables)}")
        text: str = render(shown, tables[table])
        return text

    def plot(
        self,
        figure: str = "tradeoff",
        points: Names = None,
        attacks: Names = None,
        columns: Names = None,
        width: float = PAGE,
    ) -> Figure:
        """A figure by name, as docs/papers.md lists them: matplotlib's, `width` inches wide (6.75 or 3.25).

        points, attacks, columns: names of those shown; None for all. The strongest attack is that of those shown.

        Raises UsageError for a name that this run lacks, or for a figure that it has no data for.
        """
        if figure not in (names := [chart.name for chart in CHARTS]):
            raise UsageError(f"{self.path}: no figure {figure!r}; {nearest_name(figure, names)}")
        return draw(choose_shown(self._run, points, attacks, columns), figure, width)

    def recipe(self, name: str) -> pd.DataFrame:
        """A paper's headline table beside this run's numbers, a row each; `leakbench recipe` lists the names.

        Columns `paper_NAME` are the paper's, others this run's, with the bounds of their 95 % intervals; NaN where
        there is none. Raises UsageError for a name that there is not, and where this run has no such system.
        """
        import pandas as pd

        return pd.DataFrame(list_values(collect_recipe(self._run, name)))

    def check(self, claims: str | PathLike[str]) -> Judgements:
        """The claims of a file (docs/claims.md), judged at each of their points: a sequence with `outcome` "holds",
        "broken" or "undecided", the interval `found` and the rest that `leakbench check claims` prints; `table()` has
        a row each.

        Raises UsageError, in one line, for a wrong file and for a name that this run lacks.
        """
        return Judgements(judge_claims(self._run, read_claims(user_path(claims))))

    def assert_claim(self, **claim: Any) -> None:
        """Assert that a claim holds, at every point that it is about: its keys are those of docs/claims.md.

            results.assert_claim(defense="cpsample", attack="strongest", access="DENOISER", at_most=0.6)

        Raises AssertionError where it is broken or undecided, with what was found and how many images would decide it;
        UsageError for a key or a name that there is not.
        """
        checked = validate(Claim, {"name": "claim", **claim}, "assert_claim")
        wrong = [one for one in judge_claim(self._run, checked) if one.outcome != "holds"]
        if wrong:
            raise AssertionError("\n".join(f"{one.outcome}: {one.point}: {explain(one)}" for one in wrong))

    def diff(self, other: Results | PathName) -> Differences:
        """What moved beyond noise from this run to a later one, and what changed besides (docs/diff.md):

            leakbench.load("runs/before").diff("runs/after").table()

        other: results, or the folder of a run. Raises UsageError where it holds none, and where the two measured
        nothing in common.
        """
        later = other._run if isinstance(other, Results) else open_run(user_path(other))
        return Differences(diff_runs(self._run, later))

    def _narrow(self, records: list[Record], field: str, value: str | int) -> list[Record]:
        """The records that have a value. Raises UsageError that says which values there are, where none has it."""
        kept = [record for record in records if getattr(record, field) == value]
        if not kept:
            names = {str(getattr(record, field)) for record in records}
            swept = sorted(name for name in names if name.startswith(f"{value} "))
            words = f"it has {', '.join(swept)}" if swept else nearest_name(str(value), names)
            raise UsageError(f"{self.path}: no {field} {value!r} here; {words}")
        return kept

    def __repr__(self) -> str:
        return f"Results({str(self.path)!r})"

    def __str__(self) -> str:
        """The table that the command line prints, for the width of the terminal, and the folder."""
        return "\n".join([*format_short(self._run, read_width(), ".table()"), str(self.path)])

    def _repr_html_(self) -> str:
        """The trade-off as notebooks show it, above it the reasons why it says nothing, if it does not."""
        from leakbench.interface.tradeoff_frame import render_html

        void = "".join(f"<p><strong>Void:</strong> {escape(reason)}</p>" for reason in self.void)
        table = render_html(shorten_tradeoff(self._run), ".table() has all columns")
        return f"{void}{table}<p>{escape(str(self.path))}</p>"

"""Attribute inference: the sensitive attribute read off samples, off members through the model, and off pairs.

Of samples and pairs an AUC of 1/2 gives nothing away. Of members the yardstick is what the attack says of images that
the model has never seen: only what lies beyond it is said of members. Over seeds a p value of "no more than of the
null" is the largest of the seeds', adjusted by Holm over the run's.
"""

from __future__ import annotations

from dataclasses import dataclass

from leakbench.results.run_folder import RunFolder

from .measured import summary_of
from .points import points
from .series import Series, adjusted, series
from .verdicts import kind_of
from .words import bracket, listed, p_value, percent, told

SHOWN = 0.05
OF = {"samples": "samples", "images": "members", "pairs": "pairs of outputs"}


@dataclass(frozen=True)
class Read(Series):
    """An attack on the attribute at a point. `p`: adjusted, of "no more than of the null"."""

    p: float | None = None

    @property
    def of(self) -> str:
        """Of which images: "samples", "images" or "pairs"."""
        return str(self.records[0].info.get("of", ""))


def reads(run: RunFolder) -> list[Read]:
    """In the order of the suite."""
    found = [row for point in points(run) for row in series(run, point, "attribute")]
    after = adjusted([row.p_value("attribute_auc_excess_p") for row in found])
    return [Read(**vars(row), p=p) for row, p in zip(found, after, strict=True)]


def reads_text(found: list[Read]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells."""
    titles = ["point", "attack", "needs", "of", "AUC", "of the null", "difference", "p (Holm)", "read as having it"]
    return told([*titles, "asked for it", "real images"], [_cells(row) for row in found])


def _cells(row: Read) -> list[str]:
    aucs = [bracket(summary_of(row.found(f"attribute_auc{of}"))) for of in ("", "_null", "_excess")]
    balance = [percent(summary_of(row.found(f"attribute_balance{of}"))) for of in ("", "_asked", "_real")]
    return [row.point.name, row.attack, row.access, OF.get(row.of, row.of), *aucs, p_value(row.p), *balance]


def verdicts(found: list[Read]) -> list[str]:
    """A line an attack: at which points it reads the attribute."""
    groups: dict[tuple[str, str], list[Read]] = {}
    for row in found:
        groups.setdefault((row.attack, row.access), []).append(row)
    return [
        f"**{attack}** ({access}), {OF.get(own[0].of, own[0].of)}: {_verdict(own)}"
        for (attack, access), own in groups.items()
    ]


def _verdict(own: list[Read]) -> str:
    kinds: dict[str, list[str]] = {}
    for row in own:
        kinds.setdefault(_kind(row), []).append(row.point.name)
    return "; ".join(f"{kind} at {listed(names)}" for kind, names in kinds.items())


def _kind(row: Read) -> str:
    if row.of == "images":
        excess, shown = row.found("attribute_auc_excess"), row.p is not None and row.p < SHOWN
        if excess is None:
            return "nothing to compare with"
        more = shown and (excess.summary.low > 0 or excess.summary.high < 0)
        return "says another thing of members than of others" if more else "no more shown of members than of others"
    words = {
        "leaks": "gives it away",
        "inverted": "gives it away the other way round",
        "none": "not shown to give it away",
    }
    return words.get(kind_of(row.found("attribute_auc")), "seeds disagree")


def falls(run: RunFolder, found: list[Read]) -> list[str]:
    """Points at which an attack that knows the defense reads what attacks on single samples do not."""
    said = []
    for row in (row for row in found if row.adaptive):
        ours = summary_of(row.found("attribute_auc"))
        others = [o for o in found if o.point == row.point and o.of == "samples" and o.attack != row.attack]
        apart = [summary_of(o.found("attribute_auc")) for o in others]
        known = [one for one in apart if one is not None]
        if ours is None or not known or not ours.low > max(max(one.high, 1 - one.low, 0.5) for one in known):
            continue
        beside = listed([f"{o.attack} {bracket(summary_of(o.found('attribute_auc')))}" for o in others])
        said.append(f"**{row.point.name}** falls to its adaptive attack ({row.attack} AUC {bracket(ours)}; {beside})")
    return said

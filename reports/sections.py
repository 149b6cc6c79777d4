"""The sections of report.md that have something to say in some runs only: what their templates speak of, or None."""

from __future__ import annotations

from typing import Any

from leakbench.results.run_folder import RunFolder

from . import attribute, auditing, replication, unlearning
from .attacks import inapplicable, tables, would_have_seen
from .audience import audiences
from .collapse import collapse_text, collapsed
from .exposure import LEVEL, MANY, classes_text, classes_words, exposures, members_words
from .fairness import HIDDEN, fairness, fairness_text, hidden, reader
from .forgetting import FORGOTTEN, YARDSTICK, comparisons, forgetting, forgetting_text, known, verdicts
from .guarantees import TITLES, claims
from .published import published, scaled
from .rivals import rivals_text
from .sets import sets
from .sharing import sharing_text
from .words import told


def sections(run: RunFolder) -> dict[str, Any]:
    """By the name that the template of each goes by."""
    return {
        **{"attacks": _attacks(run), "audiences": audiences(run), "replication": _replication(run)},
        "collapse": _collapse(run),
        **{"claims": _claims(run), "auditing": _auditing(run)},
        **{"forgetting": _forgetting(run), "unlearning": _unlearning(run)},
        **{"fairness": _fairness(run), "attribute": _attribute(run)},
        **{"exposure": _exposure(run), "sets": sets(run), "sharing": sharing_text(run)},
        **{"published": published(run), "scaled": scaled(run)},
    }


def _auditing(run: RunFolder) -> dict[str, Any] | None:
    found = auditing.audits(run)
    if not found:
        return None
    titles, cells = auditing.audits_text(found)
    said = {"verdicts": auditing.verdicts(found), "elsewhere": auditing.elsewhere(found)}
    return {"titles": titles, "cells": cells, **said}


def _attribute(run: RunFolder) -> dict[str, Any] | None:
    found = attribute.reads(run)
    if not found:
        return None
    titles, cells = attribute.reads_text(found)
    said = {"verdicts": attribute.verdicts(found), "falls": attribute.falls(run, found)}
    return {"titles": titles, "cells": cells, **said}


def _attacks(run: RunFolder) -> dict[str, Any] | None:
    found = tables(run)
    if not found:
        return None
    return {
        **{"tables": found, "seen": would_have_seen(run), "inapplicable": inapplicable(run)},
        "adaptive": any(record.adaptive for record in run.records),
        "rivals": rivals_text(run),
    }


def _exposure(run: RunFolder) -> dict[str, Any] | None:
    found = exposures(run)
    if not found:
        return None
    classes = len(found[0].classes)
    return {
        **{"level": LEVEL, "first": found[0].point.name, "left_out": found[0].left_out},
        **{"classes": classes_text(found[0]) if classes else None, "many": classes if classes > MANY else 0},
        "points": [(one.point.name, one.attack, classes_words(one), members_words(one)) for one in found],
        **{"nonmembers": found[0].nonmembers, "least": f"{300 / found[0].nonmembers:.2g}"},
    }


def _unlearning(run: RunFolder) -> dict[str, Any] | None:
    images, curves = unlearning.statistics(run), unlearning.curves(run)
    if not images and not curves:
        return None
    return {
        "statistics": unlearning.statistics_text(images) if images else None,
        "ratios": any(row.found("_distance_ratio") for row in images),
        "curves": unlearning.curves_text(curves) if curves else None,
        "verdicts": unlearning.verdicts([*images, *curves]),
    }


def _replication(run: RunFolder) -> dict[str, Any] | None:
    if not replication.worth_telling(run):
        return None
    return {
        **{"whole": replication.whole_text(run), "beyond": replication.beyond_text(run)},
        **{"suspects": replication.suspects(run), "guided": replication.guided_text(run)},
        "verdicts": replication.guided_verdicts(run),
    }


def _collapse(run: RunFolder) -> dict[str, Any] | None:
    table = collapse_text(run)
    return {"table": table, "points": collapsed(run)} if table[1] else None


def _claims(run: RunFolder) -> dict[str, Any] | None:
    found = claims(run)
    if not found:
        return None
    titles, cells = told(list(TITLES), [claim.cells for claim in found if claim.holds])
    said = [(claim.point.name, f"void, since {claim.void}") for claim in found if claim.void]
    said += [(claim.point.name, f"claims {claim.others}") for claim in found if claim.others]
    return {"titles": titles, "cells": cells, "said": said}


def _forgetting(run: RunFolder) -> dict[str, Any] | None:
    found = forgetting(run)
    if not found:
        return None
    titles, cells = forgetting_text(run, found)
    forgotten, kept = verdicts(found)
    return {
        **{"titles": titles, "cells": cells, "below": FORGOTTEN, "whole": any(row.cost.whole for row in found)},
        **{"judged": bool(forgotten or kept), "known": known(run, found), "forgotten": forgotten, "kept": kept},
        **{"comparisons": comparisons(found), "yardstick": YARDSTICK},
        "tried": any(row.point.method == YARDSTICK for row in found),
    }


def _fairness(run: RunFolder) -> dict[str, Any] | None:
    found = fairness(run)
    if not found:
        return None
    titles, cells = fairness_text(run, found)
    return {"titles": titles, "cells": cells, "hidden": hidden(run, found), "within": HIDDEN, "reader": reader(run)}

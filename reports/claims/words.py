"""A judgement in words: some lines for a terminal, a row for Markdown, an annotation for GitHub, a test for JUnit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import floor
from pathlib import Path
from textwrap import TextWrapper
from xml.etree import ElementTree

from leakbench.results.families import FAMILIES
from leakbench.results.record import QUALITY
from leakbench.runtime.errors import to_printable
from leakbench.statistics import Estimate

from ..reading.markdown import markdown_table
from ..reading.width import prose_width
from .claim import STRONGEST
from .judge import Judgement
from .stated import GUARANTEE

_LEVELS = {"holds": "notice", "undecided": "warning", "broken": "error"}


def format_judgement(one: Judgement) -> str:
    """Lines for a terminal, of its width and at most 100 columns: the outcome, the claim and, unless its name says so,
    the point; below it, indented, what was claimed, what was found, and what would decide it."""
    where = "" if one.point in one.claim.name else f" ({one.point})"
    first = to_printable(f"{one.outcome:<9}  {one.claim.name}{where}")
    text = to_printable(explain(one))
    indent = " " * 11
    wrapper = TextWrapper(prose_width(), indent, indent, break_long_words=False, break_on_hyphens=False)
    return first + "\n" + wrapper.fill(text)


def explain(one: Judgement) -> str:
    """The claim, the finding, and what would decide it."""
    if one.found is None:
        return f"{_describe_claim(one)}: {one.reason}"
    if one.claim.attack == GUARANTEE:
        return f"{_describe_claim(one)}: {one.found.value:.3g} is stated {one.stated}; no run can prove it"
    said = f"{_describe_claim(one)}: {describe_finding(one)}"
    if one.outcome == "undecided":
        return f"{said}; {_deciding(one)}; {format_power(one)}"
    return f"{said}; margin {abs(one.margin or 0.0):.3g}; {format_power(one)}"


def _describe_claim(one: Judgement) -> str:
    """ "auc of the strongest attack at DENOISER or less, at most 0.6"."""
    claim, access = one.claim, one.access or one.claim.access or ""
    if claim.attack == QUALITY:
        whom = ""
    elif claim.attack == GUARANTEE:
        whom = " of the guarantee"
    elif claim.attack == STRONGEST:
        whom = " of the strongest attack" + (f" at {access} or less" if access else "")
    elif claim.attack in FAMILIES:
        whom = f" of each {claim.attack} attack at {access or 'any'}{' access' if access in ('', 'any') else ''}"
    else:
        whom = f" of {claim.attack}" + (f" at {access}" if access else "")
    against = f" minus that at {claim.against}" if claim.against else ""
    return f"{claim.metric}{whom}{against}, {claim.bound_words}"


def describe_finding(one: Judgement) -> str:
    """ "0.82 [0.76, 0.86] by secmi (95 % for all attacks together, 300 images)", and what decides, if another does."""
    assert one.found is not None
    by = "" if one.attack.rpartition(", ")[0] == one.claim.attack else f" by {one.attack}"
    level = f"{100 * one.level:.3g} %{' for all attacks together' if one.together else ''}"
    decides = f"; {one.decider} decides: {_interval(one.deciding)}" if one.deciding is not None else ""
    return f"{_interval(one.found)}{by} ({level}, {one.found.n} images){decides}"


def _interval(found: Estimate) -> str:
    return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"


def format_power(one: Judgement) -> str:
    """ "power 0.98 if the true value is 0.5": how likely `holds` was; empty where nothing could be said."""
    if one.found is None or one.claim.attack == GUARANTEE:
        return ""
    if one.power is None:
        return "no power: no value of the metric lies within the bound"
    least, most = _rounded_down(one.power.probability), _rounded_down(one.power.most)
    words = least if least == most else f"at least {least}" if one.power.most >= 1 else f"{least} to {most}"
    return f"power {words} if the true value is {one.power.truth:.3g}"


def _rounded_down(probability: float) -> str:
    return f"{floor(round(100 * probability, 6)) / 100:.2g}"


def _deciding(one: Judgement) -> str:
    number = "no number of" if one.images is None else f"about {one.images:,}"
    return f"{number} images would decide it if the value is what was measured"


def format_counts(found: Sequence[Judgement]) -> str:
    """ "3 hold, 1 broken, 0 undecided"."""
    counts = Counter(one.outcome for one in found)
    return f"{counts['holds']} hold, {counts['broken']} broken, {counts['undecided']} undecided"


def format_markdown(found: Sequence[Judgement]) -> str:
    """A table for a pull request or a job's summary."""
    rows = [[f"**{one.outcome}**", *(_plain(x) for x in (one.claim.name, one.point, explain(one)))] for one in found]
    return f"Claims: {format_counts(found)}.\n\n" + markdown_table(["outcome", "claim", "point", "found"], rows)


def format_annotations(found: Sequence[Judgement], file: Path) -> str:
    """Annotations as GitHub's runner reads them, one line each."""
    lines = []
    for one in found:
        title = _escape(_printable(f"{one.outcome}: {one.claim.name}"), ":,")
        where = f"file={_escape(str(file), ':,')},title={title}"
        lines.append(f"::{_LEVELS[one.outcome]} {where}::{_escape(f'{one.point}: {explain(one)}')}\n")
    return "".join(lines)


def format_junit(found: Sequence[Judgement], strict: bool) -> str:
    """JUnit XML: a broken claim is a failure, an undecided one skipped, or a failure where `strict`."""
    suite = ElementTree.Element("testsuite", name="leakbench claims", tests=str(len(found)))
    for one in found:
        who = {"classname": _printable(one.point), "name": _printable(one.claim.name)}
        case = ElementTree.SubElement(suite, "testcase", who)
        if facts := _list_facts(one):
            properties = ElementTree.SubElement(case, "properties")
            for name, value in facts.items():
                ElementTree.SubElement(properties, "property", name=name, value=value)
        if one.outcome == "broken" or (strict and one.outcome == "undecided"):
            ElementTree.SubElement(case, "failure", message=_printable(explain(one)), type=one.outcome)
        elif one.outcome == "undecided":
            ElementTree.SubElement(case, "skipped", message=_printable(explain(one)))
    failed = sum(case.find("failure") is not None for case in suite)
    suite.set("failures", str(failed))
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in suite)))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _list_facts(one: Judgement) -> dict[str, str]:
    """Numbers of a judgement, for programs."""
    if one.found is None:
        return {}
    facts = {"value": one.found.value, "low": one.found.low, "high": one.found.high, "confidence": one.level}
    facts |= {"images": one.found.n, "margin": one.margin or 0.0}
    if one.power is not None:
        facts |= {"power": one.power.probability, "true value that power assumes": one.power.truth}
    if one.images is not None:
        facts["images that would decide"] = one.images
    return {name: f"{value:.6g}" for name, value in facts.items()}


def _plain(text: str) -> str:
    """Text whose markup stands as letters."""
    return _printable(text).replace("&", "&amp;").replace("<", "&lt;")


def _printable(text: str) -> str:
    """Text without control characters."""
    return "".join(c if c.isprintable() else " " for c in text)


def _escape(text: str, more: str = "") -> str:
    for character in f"%\r\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text

"""Text as LaTeX prints it: pure ASCII, safe at any place of a table's cell, whatever fonts the document loads."""

from __future__ import annotations

import re
import unicodedata

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': r"{\char34}",  # babel makes the bare one active in some languages
    "[": "{[}",  # after the end of a row it would begin an option,
    "*": "{*}",  # and this would belong to it
}
_MATH = {
    "\N{GREEK SMALL LETTER ALPHA}": r"\alpha",
    "\N{GREEK SMALL LETTER BETA}": r"\beta",
    "\N{GREEK SMALL LETTER GAMMA}": r"\gamma",
    "\N{GREEK SMALL LETTER DELTA}": r"\delta",
    "\N{GREEK SMALL LETTER EPSILON}": r"\varepsilon",
    "\N{GREEK SMALL LETTER ETA}": r"\eta",
    "\N{GREEK SMALL LETTER LAMDA}": r"\lambda",
    "\N{GREEK SMALL LETTER MU}": r"\mu",
    "\N{GREEK SMALL LETTER SIGMA}": r"\sigma",
    "\N{GREEK SMALL LETTER TAU}": r"\tau",
    "\N{MULTIPLICATION SIGN}": r"\times",
    "\N{PLUS-MINUS SIGN}": r"\pm",
    "\N{LESS-THAN OR EQUAL TO}": r"\le",
    "\N{GREATER-THAN OR EQUAL TO}": r"\ge",
    "\N{INFINITY}": r"\infty",
    "\N{MINUS SIGN}": "-",
}
_PLAIN = {
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
    "\N{LATIN SMALL LETTER SHARP S}": r"\ss{}",
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0308": '"',
    "\u030a": "r",
    "\u030c": "v",
    "\u0327": "c",
}


def escape(text: str) -> str:
    """Text for a cell or a caption. A character that standard fonts lack is shown by its number: U+4E2D."""
    printed = "".join(" " if unicodedata.category(one) in ("Cc", "Zl", "Zp") else one for one in text)
    return "".join(map(_escape, re.sub("(?<=-)-", "\0", printed)))


def _escape(one: str) -> str:
    if one == "\0":
        return "{}-"  # two in a row would print as one long dash
    for known in (_SPECIAL, _PLAIN):
        if one in known:
            return known[one]
    if one in _MATH:
        return f"${_MATH[one]}$"
    return one if one.isascii() else _accented(one)


def _accented(one: str) -> str:
    letter, *marks = list(unicodedata.normalize("NFD", one))
    if len(marks) == 1 and letter.isascii() and letter.isalpha() and marks[0] in _ACCENTS:
        return f"\\{_ACCENTS[marks[0]]}{{{letter}}}"
    return f"\\textsf{{U+{ord(one):04X}}}"


def label(*words: str) -> str:
    """A name for `\\ref`: lower-case letters, digits and hyphens, whatever the words hold."""
    return "-".join(filter(None, (re.sub("[^a-z0-9]+", "-", word.lower()).strip("-") for word in words)))

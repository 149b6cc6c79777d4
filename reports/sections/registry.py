"""The sections of report.md in their order. A new section is one file in this folder and its name in one of these."""

from __future__ import annotations

FINDINGS = (
    "heading",
    "validity",
    "scaled",
    "setting",
    "tradeoff",
    "verdicts",
    "few_images",
    "people",
    "audience",
    "attacks",
    "fine_tunes",
    "effects",
    "access_gaps",
    "measures",
    "collapse",
    "replication",
    "memorisation",
    "guarantees",
    "auditing",
    "forgetting",
    "unlearning",
    "composition",
    "fairness",
    "attribute",
    "exposure",
    "sets",
    "sharing",
    "service",
    "published",
    "controls",
    "flags",
)
CLOSING = ("method", "reproduce")  # after the figures

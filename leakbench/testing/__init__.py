"""Conformance checks for attacks and defenses, and the toys they are checked on."""

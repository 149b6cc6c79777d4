"""Defenses: one a file."""

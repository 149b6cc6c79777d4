"""Suites (what is run), speed benchmarks (how fast), and the measurement behind the set of attacks `standard`."""

"""Suites (what is run) and speed benchmarks (how fast)."""

"""Estimates the time of a run, and scales a suite to a budget of minutes."""

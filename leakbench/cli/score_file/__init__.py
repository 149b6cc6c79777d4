"""Scores from another script: reading the file, and the tables that `leakbench score` prints."""

"""Parameterisations: each turns what a network predicts, asked in its own terms, into noise. One a file."""

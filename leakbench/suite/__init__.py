"""The suite file and what it expands to."""

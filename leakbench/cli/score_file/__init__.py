"""Scores from somebody else's script, read and told as ours are."""

"""Attacks by adversaries who know the defense: what a sampling-time guard hides from those who do not."""

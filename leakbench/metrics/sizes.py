"""Sizes of what measures samples, for those that measure and for those that estimate how long it takes."""

ROWS = 128  # images in a compute batch of a feature network
PAIRS = 500  # of samples, at the most, whose LPIPS tells their diversity

"""Attribute inference: what a model conditioned on a sensitive attribute gives away of it."""

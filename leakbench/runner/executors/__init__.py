"""Executors do the cells of a plan: on this machine (local.py) or on a Ray cluster (ray.py), with the same records."""

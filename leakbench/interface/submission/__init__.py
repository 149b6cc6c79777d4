"""Submissions: packing a run into one file, and checking what somebody else has packed.

pack.py, unpack.py    from a run's folder to a file, and safely back
check.py              the whole check; check_*.py are its parts, findings.py what it reports
counter*.py           counter-evaluations: an attack that somebody files against somebody else's submission
"""

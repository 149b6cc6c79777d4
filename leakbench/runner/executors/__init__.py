"""Who does the cells of a plan: this machine (local.py) or a Ray cluster (ray.py). The records are the same.

executor.py   what they share: what may start when, what failed, how far it is
worker.py     does one cell
local.py      in this process, or in local processes
ray.py        as tasks of a Ray cluster: the part that runs where the command was typed
task.py       the part that runs on the cluster's nodes
fitness.py    whether a node computes what the command's machine would
"""

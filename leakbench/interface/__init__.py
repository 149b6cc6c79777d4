"""The face for Python, by which the command line computes as well.

run.py, audit.py, load.py, score.py    the functions `leakbench.run` and so on
in_memory.py                           pipelines and images that are no files
training_audit.py                      `leakbench.TrainingAudit`, for training loops
results.py, score_results.py           what they return

Nothing is imported here: `leakbench` itself hands the names on when they are first asked for.
"""

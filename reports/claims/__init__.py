"""Claims on a run's numbers, judged by their intervals: holds, broken, undecided."""

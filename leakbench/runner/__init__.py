"""Running a suite: plan, executors, time estimate, export."""

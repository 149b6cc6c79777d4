"""Running a suite: plan, session, executors, time estimate, export."""

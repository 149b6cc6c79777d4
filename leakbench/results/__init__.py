"""What crosses from the harness to reports, typed: records, evidence, the plan of a run."""

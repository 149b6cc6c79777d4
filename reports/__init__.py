"""Tables and figures made from result records and nothing else."""

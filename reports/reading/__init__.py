"""What records say: points, strongest attacks, aggregation over seeds, paired comparisons. No prose, no files."""

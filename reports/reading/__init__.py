"""Reading of records: points, strongest attacks, aggregation over seeds, paired comparisons. Writes no files."""

"""Tables on the terminal and as CSV files."""

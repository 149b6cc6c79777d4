"""From the evidence of each attack family to the metrics of its record."""

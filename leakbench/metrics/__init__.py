"""From evidence and samples to numbers."""

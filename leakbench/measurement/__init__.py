"""One release measured: its training, its queries, its evidence, its records."""

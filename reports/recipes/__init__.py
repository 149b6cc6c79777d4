"""Headline tables and figures of papers, made again from records: one file each, registered in `registry`."""

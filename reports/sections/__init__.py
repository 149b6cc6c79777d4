"""The sections of report.md: one file each, named in `registry`."""

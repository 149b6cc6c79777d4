"""Attacks that flag memorised prompts: one method a file."""

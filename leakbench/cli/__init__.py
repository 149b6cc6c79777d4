"""The command line: one command a file."""

from leakbench.cli.app import app
from leakbench.cli.command_line import main

__all__ = ["app", "main"]

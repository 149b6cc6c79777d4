"""`python -m leakbench.cli`."""

from leakbench.cli import main

main()

"""The suite of `leakbench audit`: made of the words of the command, not read from a file."""

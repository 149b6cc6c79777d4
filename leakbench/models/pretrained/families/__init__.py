"""Families of networks: what each is called with for one prediction, and what it is told. One a file."""

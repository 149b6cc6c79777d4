"""Auditing: lower bounds of epsilon from canaries that a training was given by fair coins."""

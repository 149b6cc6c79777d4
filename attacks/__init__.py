"""Membership, replication, attribute and unlearning attacks: one attack a file, in a folder by kind."""

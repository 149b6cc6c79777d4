"""Files from the network, checked by their hashes."""

"""The training loop, alone or for several networks at once."""

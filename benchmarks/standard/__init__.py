"""The measurement by which the set of attacks `standard` was chosen."""

"""How long a run takes, and what fits a budget of minutes."""

"""LoRA and its kin: read, checked against a model, and merged into its weights."""

"""Collections that others made: each file reads one from its folder as parts of a zoo."""

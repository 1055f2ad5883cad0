"""The cellar: what everything stands on, from the standard library alone."""

"""A user's own package with a method: what the worker is tested on."""

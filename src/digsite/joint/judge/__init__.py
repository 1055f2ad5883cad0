"""Scores, nulls, rivals and the verdict in words."""

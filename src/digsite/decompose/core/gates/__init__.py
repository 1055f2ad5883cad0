"""Causal-importance functions: from what a module reads to one logit per component; one file per kind."""

"""Training losses: each is one term of the total, with its own coefficient; one file per kind."""

"""What is looked at: a model by reference, its weights one at a time, and what it may be fed."""

"""What the studies of several rooms share: statements about a model, and the time they may take."""

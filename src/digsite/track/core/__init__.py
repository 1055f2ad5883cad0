"""The method itself, pure functions on tensors, and its families."""

"""The pure methods of pruning: tensors in, tensors or frozen dataclasses out."""

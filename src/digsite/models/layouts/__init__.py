"""Checkpoints of others: `matches(bundle)` and `translate(bundle)` to one of our configs and its state dict."""

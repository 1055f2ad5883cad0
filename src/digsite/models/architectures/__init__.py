"""One file per architecture: its `nn.Module` and `build(config)`."""

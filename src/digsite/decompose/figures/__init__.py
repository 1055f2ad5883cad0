"""Pictures of a decomposition: one file per figure, each `draw(view) -> Figure`."""

"""One file per tracker; each has `open_mirror(run, project) -> Mirror`."""

"""Image sets: one file each, with where its files come from and how they are read."""

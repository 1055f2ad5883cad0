"""Numbers in, Figure out."""

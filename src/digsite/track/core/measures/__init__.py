"""The family of dimensionality measures: one file each, every one with `measure(spectrum) -> one number per stack`."""

"""The family of jump detectors: one file each, every one with `detect(values, **options) -> list[Change]`."""

"""The family of trainings with a known answer: one file each, every one with `setup(task, config) -> Setup`."""

"""One file per way to start runs: local, ray, slurm, torchrun."""

"""Tensors for the eye: read in pieces from safetensors files with NumPy alone."""

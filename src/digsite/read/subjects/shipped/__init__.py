"""Trained readers, each a safetensors file whose metadata is its model card."""

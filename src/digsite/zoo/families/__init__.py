"""Kinds of networks a zoo can hold: each file draws the model config of one member."""

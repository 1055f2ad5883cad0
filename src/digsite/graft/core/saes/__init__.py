"""Sparse autoencoders: one kind per file, written for K stacked members at once.

A kind has `init(d, width, draw)` (tensors of one member by name), `encode(p, x, knob)` (x (K, n, d) to codes (K, n, m))
and `loss(p, x, knob)` (one number per member). `knob` (K,) is the sparsity: a penalty, or how many codes stay on.
The shared linear part is in `_linear`.
"""

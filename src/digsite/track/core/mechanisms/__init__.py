"""What changed inside: attention, filters, selectivity, sparsity, weights, induction; each pure on tensors."""

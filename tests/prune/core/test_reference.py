"""The fast walk comes to what the plain page says, and reaches what it should in families with odd maps."""

import pytest
import torch
from model_families import batch_of, make_module

from digsite.prune.core.model import Recipe, prune_model
from digsite.prune.core.patterns import parse_pattern
from digsite.prune.core.reference import prune_plainly


@pytest.mark.parametrize("method", ["magnitude", "wanda", "wanda_variant", "ria", "sparsegpt"])
@pytest.mark.parametrize("pattern", [None, "2:4"])
def test_the_fast_walk_is_the_plain_one(llama, tokens, method, pattern):
    recipe, batch = Recipe(method, parse_pattern(0.5, pattern)), tokens()
    fast, plain = llama(3), llama(3)
    ledger, masks = prune_model(fast, batch, recipe), prune_plainly(plain, batch, recipe)
    assert {line.name for line in ledger} == set(masks)
    for line in ledger:
        assert torch.equal(line.keep, masks[line.name]), line.name
    for a, b in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


# Matrices that are no linear map: embeddings and heads outside of the layers, a state-space model's own parameters.
NO_MAPS = (
    "embed",
    "shared",
    "lm_head",
    "classifier",
    "conv",
    "A_log",
    "relative_attention_bias",
    "position",
    "cls",
)


@pytest.mark.parametrize("family", ["mixtral", "mamba", "t5", "vit"])
def test_nearly_every_prunable_parameter_is_reached(family):
    """Counted from the parameters themselves, not from what the room finds; routers count as prunable and are left."""
    model = make_module(family, pytest.importorskip("transformers"))
    prunable = sum(
        p.numel()
        for name, p in model.named_parameters()
        if p.ndim >= 2 and not any(word in name for word in NO_MAPS)
    )
    ledger = prune_model(model, batch_of(family), Recipe("wanda", parse_pattern(0.5)))
    reached = sum(line.keep.numel() for line in ledger if line.sparsity > 0.4)
    assert 0.99 <= reached / prunable <= 1.0, f"{reached:,} of {prunable:,}"

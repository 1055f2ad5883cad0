"""Leaving out one component through masks is the edited model's answer."""

import pytest
import torch
from torch import nn

from digsite.decompose import decompose
from digsite.decompose.core.scene import gap
from digsite.decompose.judge import effects
from digsite.models import build, parse

STORY = {"kind": "llama", "vocab": 11, "context": 8, "d_model": 8, "d_mlp": 12, "n_layers": 1}
ADDS = {"kind": "modular_mlp", "modulus": 11, "d_embed": 6, "d_out": 9}


def found(config: dict, modules: list[str], positions: int):
    model: nn.Module = build(parse(config), 0).eval()
    tokens = torch.randint(11, (5, positions), generator=torch.Generator().manual_seed(0))
    settings = {"C": 6, "steps": 3, "batch": 4, "compile": "never"}
    return decompose(model, modules, data=tokens, compare="kl", **settings), tokens


@pytest.mark.parametrize(
    ("config", "modules", "positions", "answers"),
    [(STORY, ["model.embed_tokens", "model.layers.*.mlp.up_proj"], 8, 8), (ADDS, ["l1"], 2, 1)],
)
def test_leaving_a_component_out_is_what_the_edited_model_does(config, modules, positions, answers):
    made, tokens = found(config, modules, positions)
    scene = made.scene(tokens)
    for module in made.modules:
        numbers = effects.most_used(scene, module, 3)
        effect = effects.of_components(scene, module, numbers)
        assert effect.kl.shape == effect.first.shape == (3, 5, answers)
        edited = made.ablate({module: [int(numbers[1])]})
        with torch.no_grad():
            output = edited(tokens)
        expected = gap(output, made.model(tokens), "kl").reshape(5, answers)
        torch.testing.assert_close(effect.kl[1], expected, rtol=1e-3, atol=1e-6)
        assert torch.equal(effect.first[1], output.argmax(-1).reshape(5, answers))


def test_the_most_used_come_first():
    made, tokens = found(STORY, ["model.layers.*.mlp.up_proj"], 8)
    [module] = made.modules
    mean = made.importance(tokens)[module].flatten(0, -2).mean(0)
    numbers = effects.most_used(made.scene(tokens), module, 4)
    assert mean[numbers].tolist() == mean.sort(descending=True).values[:4].tolist()

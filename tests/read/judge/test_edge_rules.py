import numpy as np
import torch
from safetensors import safe_open

from digsite.read.judge.edge_rules import Example, describe_examples, grow_rules
from digsite.read.subjects.network import network_of


def test_rules_learn_what_the_examples_show_and_are_calibrated_on_recipes_left_out(tmp_path):
    rng = np.random.default_rng(0)
    examples = []
    for i in range(80):
        forward = rng.normal(size=6)
        forward[0] = abs(forward[0]) + 0.5
        kind = ("fine-tuned", "continued", "distilled", "repaired", "siblings")[i % 5]
        examples.append(Example(f"recipe{i % 3}", kind, forward, -forward))
    slope = grow_rules(examples, tmp_path / "rules.safetensors")
    assert 0.05 <= slope <= 2
    with safe_open(tmp_path / "rules.safetensors", "pt") as stored:
        assert "reverse" in stored.metadata()["classes"]


def test_examples_are_read_in_both_directions():
    g = torch.Generator().manual_seed(0)
    networks = {
        n: network_of(n, {"a": torch.randn(6, 6, generator=g), "b": torch.randn(6, 6, generator=g)})
        for n in "pc"
    }
    (found,) = describe_examples("r", networks, [("p", "c", "fine-tuned")])
    assert found.forward.shape == found.backward.shape and not np.allclose(found.forward, found.backward)

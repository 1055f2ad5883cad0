import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from digsite.base.errors import UsageError
from digsite.graft.core.nets import predict_logits
from digsite.graft.core.operate import plan_method, run_operation
from digsite.graft.subjects.checkpoints import flatten_to_mlp, open_classifier, write_grafted


@pytest.mark.parametrize(
    "text", ["union", "cascade", "ridge_all data=s n_images=50", "distill steps=2 n_images=50"]
)
def test_a_plain_graft_comes_back_from_its_file(room, tmp_path, text):
    model = run_operation(plan_method(text), room.pair, room.pools, None, lens=room.lens).model
    said = write_grafted(tmp_path / "g.safetensors", model, {"method": text})
    assert "plain network" in said
    x = room.data.test.x[:20]
    again = open_classifier(f"file:{tmp_path / 'g.safetensors'}")
    torch.testing.assert_close(predict_logits(again, x), predict_logits(model, x), atol=1e-4, rtol=1e-4)
    with safe_open(tmp_path / "g.safetensors", "pt") as file:
        assert json.loads(file.metadata()["digsite.graft"]) == {"method": text}


def test_a_reader_of_all_layers_of_a_deep_network_is_one_network(crossed):
    from digsite.graft.core.edits import Beside

    deep, x = crossed.pair.donor, crossed.data.test.x[:20]
    model = Beside(deep, crossed.pair.name_heads()[1], [7], torch.nn.Linear(256 + 256 + 128, 1))
    flat = flatten_to_mlp(model)
    assert flat is not None
    torch.testing.assert_close(predict_logits(flat, x), predict_logits(model, x), atol=1e-3, rtol=1e-3)


def test_convolutions_come_back_too(convolutional, tmp_path):
    model = run_operation(plan_method("direct_copy"), convolutional.pair, convolutional.pools, None).model
    write_grafted(tmp_path / "c.safetensors", model, {})
    x = convolutional.data.test.x[:5]
    torch.testing.assert_close(
        predict_logits(open_classifier(str(tmp_path / "c.safetensors")), x), predict_logits(model, x)
    )


def test_a_composite_says_so(room, tmp_path):
    model = run_operation(plan_method("union rule=guarded"), room.pair, room.pools, None).model
    assert "composite" in write_grafted(tmp_path / "u.safetensors", model, {})


def test_bare_matrices_are_a_relu_network(tmp_path):
    w = [torch.randn(5, 9), torch.randn(3, 5)]
    save_file({"a.weight": w[0], "b.weight": w[1], "b.bias": torch.ones(3)}, tmp_path / "bare.safetensors")
    x = torch.randn(4, 9)
    torch.testing.assert_close(
        open_classifier(str(tmp_path / "bare.safetensors"))(x), (x @ w[0].T).relu() @ w[1].T + 1
    )


def test_another_ending(room, tmp_path):
    with pytest.raises(UsageError, match="no safetensors file"):
        write_grafted(tmp_path / "m.pt", room.pair.receiver, {})

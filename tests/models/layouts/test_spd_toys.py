"""Toy targets as the reference SPD code stores them, against their formulas."""

import pytest
import torch
from torch.nn import functional as F

from digsite.base.errors import NotFound, UsageError
from digsite.models import load_model


def tied_tms() -> dict[str, torch.Tensor]:
    """Two names of one memory, the second transposed, and one square layer between."""
    first = torch.randn(2, 5)
    return {
        "linear1.weight": first,
        "linear2.weight": first.T,
        "linear2.bias": torch.randn(5),
        "hidden_layers.0.weight": torch.randn(2, 2),
    }


@pytest.mark.parametrize("prefix", ["", "target_model."])
def test_a_tms_target_alone_or_inside_of_its_decomposition(tmp_path, prefix):
    state = tied_tms()
    parts = {"_components.linear1.V": torch.randn(5, 20), "_components.linear1.U": torch.randn(20, 2)}
    torch.save(
        {prefix + name: t for name, t in state.items()} | (parts if prefix else {}), tmp_path / "tms.pth"
    )
    x = torch.rand(7, 5)
    hidden = x @ state["linear1.weight"].T @ state["hidden_layers.0.weight"].T
    wanted = F.relu(hidden @ state["linear2.weight"].T + state["linear2.bias"])
    torch.testing.assert_close(load_model(str(tmp_path / "tms.pth"))(x), wanted)


def resid() -> dict[str, torch.Tensor]:
    embed = F.normalize(torch.randn(6, 9), dim=1)
    layers = {f"layers.{i}.mlp_in.weight": torch.randn(4, 9) for i in range(2)}
    layers |= {f"layers.{i}.mlp_out.weight": torch.randn(9, 4) for i in range(2)}
    return {"W_E": embed, "W_U": embed.T.contiguous(), **layers}


def test_a_residual_mlp_with_its_settings(tmp_path):
    state, x = resid(), torch.rand(7, 6)
    torch.save(state, tmp_path / "resid_mlp.pth")
    with pytest.raises(NotFound, match="'resid_mlp_train_config.yaml', which is not beside it"):
        load_model(str(tmp_path / "resid_mlp.pth"))
    (tmp_path / "resid_mlp_train_config.yaml").write_text("resid_mlp_config:\n  act_fn_name: gelu\n")
    stream = x @ state["W_E"]
    for i in range(2):
        stream = (
            stream
            + F.gelu(stream @ state[f"layers.{i}.mlp_in.weight"].T) @ state[f"layers.{i}.mlp_out.weight"].T
        )
    torch.testing.assert_close(load_model(str(tmp_path / "resid_mlp.pth"))(x), stream @ state["W_U"])


def test_a_residual_mlp_that_ours_is_not(tmp_path):
    (tmp_path / "resid_mlp_train_config.yaml").write_text("act_fn_name: relu\n")
    torch.save(resid() | {"W_U": torch.randn(9, 6)}, tmp_path / "a.pth")
    with pytest.raises(UsageError, match="reads its output by a map of its own"):
        load_model(str(tmp_path / "a.pth"))
    torch.save(resid() | {"layers.0.mlp_in.bias": torch.ones(4)}, tmp_path / "b.pth")
    with pytest.raises(UsageError, match="biases in one of its maps only"):
        load_model(str(tmp_path / "b.pth"))

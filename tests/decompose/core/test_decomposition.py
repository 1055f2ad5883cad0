import pytest
import torch
from safetensors.torch import save_file

from digsite.base.errors import NotFound, UsageError
from digsite.decompose import Decomposition, decompose
from digsite.decompose.core.scene import MASKINGS
from digsite.decompose.subjects import targets
from digsite.models import build, parse


def test_importance_says_which_neurons_an_input_needs(exact, batch):
    found = exact.importance(batch)["0"]
    on = targets.build_pairs()[0](batch) > 5e-5  # the fixture's gates rise to one within 1e-4
    assert torch.equal(found[:, :4] > 0.5, on)
    assert not found[:, 4].any()


def test_important_components_alone_give_the_output(exact, batch):
    wanted = targets.build_pairs()(batch)
    for masking in ("ci", "rounded", "stochastic", "unmasked"):
        torch.testing.assert_close(exact.output(batch, masking), wanted, atol=1e-3, rtol=0)
    assert not exact.output(batch, "zero").any()
    assert (exact.output(batch, "random") - wanted).abs().max() > 0.05


def test_only_the_named_modules_are_replaced(exact, batch):
    torch.testing.assert_close(exact.output(batch, "zero", modules=[]), targets.build_pairs()(batch))


def test_an_unknown_masking_or_module_is_answered(exact, batch):
    with pytest.raises(UsageError, match="stochastic"):
        exact.output(batch, "stochastik")
    with pytest.raises(UsageError, match="'7' was not decomposed"):
        exact.components("7")
    assert len(MASKINGS) == 6


def test_switching_a_component_off_silences_its_neuron(exact, batch):
    changed = exact.ablate({"0": [1]})(batch)
    wanted = targets.build_pairs()(batch)
    assert not changed[:, 1].any()
    torch.testing.assert_close(changed[:, [0, 2, 3]], wanted[:, [0, 2, 3]])
    torch.testing.assert_close(exact.edit({"2": {3: 2.0}})(batch)[:, 3], 2 * wanted[:, 3])


def test_keeping_one_component_leaves_one_output(exact, batch):
    assert exact.keep({"0": [2]})(batch).any(0).tolist() == [False, False, True, False]


def test_edits_come_without_hooks_and_leave_the_copy_alone(exact, batch):
    before = exact.output(batch)
    changed = exact.ablate({"0": [0]})
    assert all("forward" not in module.__dict__ for module in changed.modules())
    torch.testing.assert_close(exact.output(batch), before)


def test_a_component_that_is_not_there_is_answered(exact):
    with pytest.raises(UsageError, match="components 0 to 4, not 9"):
        exact.ablate({"0": [9]})


def test_saved_and_loaded_it_is_the_same(exact, batch, tmp_path):
    path = exact.save(tmp_path / "found.safetensors")
    with pytest.raises(UsageError, match="model="):
        Decomposition.load(path)
    again = Decomposition.load(path, model=targets.build_pairs())
    assert torch.equal(again.output(batch), exact.output(batch))
    assert again.config == exact.config


def test_clusters_join_what_acts_together(exact, batch):
    groups = exact.cluster(batch).groups
    assert sorted(sorted(g) for g in groups) == [[("0", c), ("2", c)] for c in range(4)]


def test_a_model_of_ours_needs_no_architecture(tmp_path):
    model = build(parse({"kind": "tms"})).untied()
    found = decompose(model, ["linear*"], data=torch.rand(64, 5), C=6, steps=2, batch=8)
    again = Decomposition.load(found.save(tmp_path / "found.safetensors"))
    x = torch.rand(9, 5)
    assert torch.equal(again.output(x), found.output(x))


def test_other_files_and_missing_files_are_answered(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="is not a decomposition"):
        Decomposition.load(tmp_path / "a.safetensors")
    with pytest.raises(NotFound, match="no decomposition at"):
        Decomposition.load(tmp_path / "b.safetensors")
    with pytest.raises(NotFound):
        Decomposition.load("run:nothing")


# Runs of the reference code, in the layout that it writes: target, parts and gates of a toy, the settings beside.


def write_spd_run(folder, kind="mlp", hidden=(6,), **settings):
    """A toy of 5 features and 2 neurons with 7 parts a module, all drawn; returns the tensors of the last checkpoint."""
    torch.manual_seed(0)
    state = {
        "linear1.weight": torch.randn(2, 5),
        "linear2.weight": torch.randn(5, 2),
        "linear2.bias": torch.randn(5),
    }
    tensors = {f"target_model.{name}": value for name, value in state.items()}
    for name, d_in, d_out in (("linear1", 5, 2), ("linear2", 2, 5)):
        tensors |= {
            f"_components.{name}.V": torch.randn(d_in, 7),
            f"_components.{name}.U": torch.randn(7, d_out),
        }
        sizes = [1 if kind == "mlp" else d_in, *hidden, 7 if kind == "shared_mlp" else 1]
        for i in range(len(sizes) - 1):
            alone = () if kind == "shared_mlp" else (7,)
            tensors[f"_ci_fns.{name}.layers.{2 * i}.W"] = torch.randn(*alone, sizes[i], sizes[i + 1])
            tensors[f"_ci_fns.{name}.layers.{2 * i}.b"] = torch.randn(*alone, sizes[i + 1])
    torch.save({k: v * 0 for k, v in tensors.items()}, folder / "model_50.pth")
    torch.save(tensors, folder / "model_4000.pth")
    lines = {
        "C": 7,
        "ci_fn_type": kind,
        "ci_fn_hidden_dims": list(hidden),
        "sigmoid_type": "leaky_hard",
    } | settings
    (folder / "final_config.yaml").write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return tensors


def gate_by_hand(tensors, name, x, kind):
    """Logits as the published method writes them, layer by layer."""
    acts = x @ tensors[f"_components.{name}.V"]
    h = {"mlp": acts[..., None], "vector_mlp": x[..., None, :].expand(*x.shape[:-1], 7, -1), "shared_mlp": x}[
        kind
    ]
    layers = sorted({int(k.split(".")[3]) for k in tensors if k.startswith(f"_ci_fns.{name}.")})
    for i in layers:
        w, b = (tensors[f"_ci_fns.{name}.layers.{i}.{letter}"] for letter in "Wb")
        h = h @ w + b if kind == "shared_mlp" else torch.einsum("...ci,cio->...co", h, w) + b
        h = torch.nn.functional.gelu(h) if i != layers[-1] else h
    return h if kind == "shared_mlp" else h[..., 0]


@pytest.mark.parametrize(
    ("kind", "hidden"), [("mlp", (6,)), ("mlp", (6, 4)), ("vector_mlp", (3,)), ("shared_mlp", (6, 4))]
)
def test_a_run_of_the_reference_code_is_a_decomposition(tmp_path, kind, hidden):
    tensors = write_spd_run(tmp_path, kind, hidden)
    found, x = Decomposition.load(str(tmp_path)), torch.rand(9, 5)
    middle = x @ tensors["target_model.linear1.weight"].T
    assert found.modules == ["linear1", "linear2"]
    for name, given in (("linear1", x), ("linear2", middle)):
        parts = found.components(name)
        assert torch.equal(parts.V, tensors[f"_components.{name}.V"]) and torch.equal(
            parts.U, tensors[f"_components.{name}.U"]
        )
        torch.testing.assert_close(parts.weight, tensors[f"target_model.{name}.weight"].T)
        by_hand = gate_by_hand(tensors, name, given, kind).clamp(0, 1)
        torch.testing.assert_close(found.importance(x)[name], by_hand, atol=1e-5, rtol=1e-4)
    wanted = torch.relu(
        middle @ tensors["target_model.linear2.weight"].T + tensors["target_model.linear2.bias"]
    )
    torch.testing.assert_close(found.model(x), wanted)
    one = (
        found.importance(x)["linear1"]
        * (x @ tensors["_components.linear1.V"])
        @ tensors["_components.linear1.U"]
    )
    torch.testing.assert_close(
        found.output(x, "ci", modules=["linear1"]),
        torch.relu(one @ tensors["target_model.linear2.weight"].T + tensors["target_model.linear2.bias"]),
    )
    again = Decomposition.load(found.save(tmp_path / "ours.safetensors"))
    torch.testing.assert_close(again.output(x, "ci"), found.output(x, "ci"))


def test_a_run_of_the_reference_code_on_a_model_of_ones_own(tmp_path):
    """One checkpoint of it, and a target that is no toy: the module is given, its weights are those of the file."""
    tensors = write_spd_run(tmp_path)
    renamed = {k.replace("linear1", "0").replace("linear2", "1"): v for k, v in tensors.items()}
    torch.save(renamed, tmp_path / "model_4000.pth")
    model = torch.nn.Sequential(torch.nn.Linear(5, 2, bias=False), torch.nn.Linear(2, 5))
    found = Decomposition.load(tmp_path / "model_4000.pth", model=model)
    assert torch.equal(found.components("1").U, tensors["_components.linear2.U"])
    assert torch.equal(found.model[0].weight, tensors["target_model.linear1.weight"])
    assert not torch.equal(model[0].weight, found.model[0].weight)
    with pytest.raises(UsageError, match="Filling the target of .* failed"):
        Decomposition.load(
            tmp_path / "model_4000.pth", model=torch.nn.Sequential(torch.nn.Linear(5, 2), model[1])
        )


def test_a_run_of_the_reference_code_that_is_not_understood_says_why(tmp_path):
    write_spd_run(tmp_path, ci_fn_type="global_shared_mlp")
    with pytest.raises(
        UsageError, match="of the kind 'global_shared_mlp'; known are mlp, vector_mlp, shared_mlp"
    ):
        Decomposition.load(tmp_path)
    tensors = write_spd_run(tmp_path, sigmoid_type="cubic")
    with pytest.raises(UsageError, match="The sigmoid 'cubic' of"):
        Decomposition.load(tmp_path)
    write_spd_run(tmp_path)
    torch.save({k: v for k, v in tensors.items() if "_components" not in k}, tmp_path / "model_4000.pth")
    with pytest.raises(UsageError, match="holds no parts"):
        Decomposition.load(tmp_path)
    odd = {k.replace("_components.linear1", "_components.linear9"): v for k, v in tensors.items()}
    torch.save(odd, tmp_path / "model_4000.pth")
    with pytest.raises(UsageError, match="The parts of 'linear9' in .* belong to no module of its target"):
        Decomposition.load(tmp_path)

import itertools
import json

import pytest
import torch
from torch.nn import functional as F

from digsite.base.errors import DigsiteError, NotFound, UsageError
from digsite.data.sequences import modular_addition
from digsite.data.tokenizers import load_tokenizer
from digsite.models import build, load_model, parse, save_model, to_huggingface
from digsite.models.configs.language import Gpt2Config, LlamaConfig
from digsite.weights import read_weights

TINY_LLAMA = {"vocab": 31, "context": 24, "d_model": 24, "d_mlp": 40, "n_layers": 2}


def llama_config(n_heads: int, n_kv_heads: int, tied: bool, rope: str = "halves") -> LlamaConfig:
    return LlamaConfig.model_validate(
        {**TINY_LLAMA, "n_heads": n_heads, "n_kv_heads": n_kv_heads, "tied": tied, "rope": rope}
    )


def tokens(vocab: int, length: int = 17) -> torch.Tensor:
    return torch.randint(vocab, (3, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("n_heads", "n_kv_heads", "tied"), [(4, 4, True), (4, 2, False), (6, 1, True)])
@pytest.mark.parametrize("rope", ["halves", "pairs"])
def test_llama_equals_transformers(tmp_path, n_heads, n_kv_heads, tied, rope):
    transformers = pytest.importorskip("transformers")
    ours = build(llama_config(n_heads, n_kv_heads, tied, rope), seed=3)
    to_huggingface(tmp_path, ours)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path).eval()
    x = tokens(31)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x).logits, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(load_model(str(tmp_path))(x), ours(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_llama_saved_by_transformers_loads_here(tmp_path, tied):
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=29,
        hidden_size=24,
        intermediate_size=36,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        rope_theta=5000.0,
        tie_word_embeddings=tied,
        attention_bias=True,
        mlp_bias=True,
    )
    torch.manual_seed(4)
    theirs = transformers.LlamaForCausalLM(config).eval()
    theirs.save_pretrained(tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    ours, x = load_model(str(tmp_path)), tokens(29)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_gpt2_equals_transformers_both_ways(tmp_path, tied):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=29, n_positions=20, n_embd=24, n_layer=2, n_head=3, tie_word_embeddings=tied
    )
    torch.manual_seed(4)
    theirs = transformers.GPT2LMHeadModel(config).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    ours, x = load_model(str(tmp_path / "theirs")), tokens(29)
    to_huggingface(tmp_path / "ours", ours)
    again = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "ours").eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x).logits, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(again(x).logits, theirs(x).logits, rtol=1e-5, atol=1e-5)


def test_another_architecture_is_left_to_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.OPTConfig(
        vocab_size=29,
        hidden_size=16,
        ffn_dim=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=20,
        word_embed_proj_dim=16,
    )
    torch.manual_seed(4)
    theirs = transformers.OPTForCausalLM(config).eval()
    theirs.save_pretrained(tmp_path)
    x = tokens(29)
    with torch.no_grad():
        torch.testing.assert_close(load_model(f"file:{tmp_path}")(x), theirs(x).logits)


@pytest.mark.parametrize(
    ("folder", "tokenizer", "length", "nats"),
    [("stories260K", "tok512.bin", 512, 1.422), ("tinystories_char_0.9M", "tok105.vocab", 257, 0.655)],
)
def test_published_stories_are_likely(data_dir, folder, tokenizer, length, nats):
    model, words = (
        load_model(f"file:{data_dir}/lm/{folder}"),
        load_tokenizer(data_dir / "lm" / folder / tokenizer),
    )
    texts = json.loads((data_dir / "text/tinystories_train_first1000.json").read_text())[:60]
    total = count = 0.0
    with torch.no_grad():
        for ids in (torch.tensor([words.encode(text)[:length]]) for text in texts):
            total += float(F.cross_entropy(model(ids[:, :-1])[0], ids[0, 1:], reduction="sum"))
            count += ids.shape[1] - 1
    assert total / count == pytest.approx(nats, abs=6e-4)


def test_the_raw_file_and_the_safetensors_are_one_model(data_dir):
    folder = data_dir / "lm/stories260K"
    a, b = load_model(str(folder / "stories260K.bin")), load_model(str(folder))
    x = tokens(512)
    with torch.no_grad():
        assert torch.equal(a(x), b(x))


def test_the_sorting_gpt_sorts_everything(data_dir):
    model = load_model(str(data_dir / "lm/gpt_nano_sort"))
    digits = torch.tensor(list(itertools.product(range(3), repeat=6)))
    rows = digits
    with torch.no_grad():
        for _ in range(6):
            rows = torch.cat([rows, model(rows)[:, -1].argmax(-1, keepdim=True)], 1)
    assert torch.equal(rows[:, 6:], digits.sort(1).values)


def test_modular_addition_networks_add(data_dir):
    pairs, sums = modular_addition(59)
    for path in sorted((data_dir / "modular_addition").glob("*.pt")):
        with torch.no_grad():
            assert torch.equal(load_model(str(path))(pairs).argmax(-1), sums), path.name


def test_the_sorted_list_model_sorts(data_dir):
    model = load_model(str(data_dir / "toy_transformers/sorted_list.safetensors"))
    generator = torch.Generator().manual_seed(0)
    numbers = torch.rand(500, 51, generator=generator).argsort(1)[:, :10]
    answer = numbers.sort(1).values
    rows = torch.cat([numbers, torch.full((500, 1), 51), answer], 1)
    with torch.no_grad():
        right = model(rows)[:, 10:20].argmax(-1) == answer
    assert right.float().mean() > 0.995


def test_the_first_unique_model_finds_it(data_dir):
    model = load_model(str(data_dir / "toy_transformers/first_unique_char.safetensors"))
    characters = torch.randint(10, (200, 19), generator=torch.Generator().manual_seed(0))
    counts = F.one_hot(characters, 10).cumsum(1)
    once = counts.gather(2, characters[:, None].expand(-1, 19, -1)) == 1
    seen = torch.ones(19, 19).tril().bool()
    first = torch.where(once & seen, torch.arange(19), 19).amin(2)
    padded = torch.cat([characters, torch.full((200, 1), 10)], 1)
    answer = padded.gather(1, first)
    with torch.no_grad():
        right = model(torch.cat([torch.full((200, 1), 10), characters], 1))[:, 1:].argmax(-1) == answer
    assert right.float().mean() > 0.98


def test_a_model_saved_here_is_built_again(tmp_path):
    model = build(parse({"kind": "mlp", "sizes": [5, 4, 3], "activation": "tanh"}), seed=2)
    save_model(tmp_path / "m.safetensors", model, {"note": "x"})
    again, x = load_model(str(tmp_path / "m.safetensors")), torch.rand(6, 5)
    assert torch.equal(again(x), model(x)) and again.config == model.config


def test_a_tied_model_stays_tied(tmp_path):
    save_model(
        tmp_path / "m.safetensors", build(Gpt2Config(vocab=11, context=8, d_model=8, n_layers=1, n_heads=2))
    )
    again = load_model(str(tmp_path / "m.safetensors"))
    assert again.lm_head.weight is again.transformer.wte.weight


def test_weights_without_a_use_are_refused(tmp_path):
    torch.save({"a": torch.ones(2), "b": torch.ones(3)}, tmp_path / "x.pt")
    with pytest.raises(
        UsageError, match=r"x\.pt.*\(a, b, \.\.\.\) do not say how they are used.*py:module:factory"
    ):
        load_model(str(tmp_path / "x.pt"))


def test_a_checkpoint_with_missing_tensors_names_them(tmp_path):
    model = build(parse({"kind": "mlp", "sizes": [5, 4, 3]}))
    del model.layers[1]
    save_model(tmp_path / "m.safetensors", model)
    with pytest.raises(DigsiteError, match=r"do not fit a mlp: .*layers\.1\.weight"):
        load_model(str(tmp_path / "m.safetensors"))


def test_a_module_without_a_config_is_not_saved(tmp_path):
    with pytest.raises(UsageError, match="A Linear has no config of ours"):
        save_model(tmp_path / "m.safetensors", torch.nn.Linear(2, 2))


def test_metadata_of_a_zoo_builds_the_member():
    from digsite.models.pretrained import build_from_bundle
    from digsite.weights import WeightBundle

    model = build(parse({"kind": "gru", "n_inputs": 4, "n_hidden": 3}))
    meta = {"model": model.config.model_dump(), "member": 7}
    x = torch.rand(2, 5, 4)
    assert torch.equal(build_from_bundle(WeightBundle(model.state_dict(), meta))(x), model.eval()(x))


# Toy targets as the reference SPD code stores them, against their formulas.


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


def test_a_run_of_the_reference_opens_as_its_last_checkpoint(tmp_path):
    """Its folder: settings, a copy of the target, checkpoints by step, and the training's own rows."""
    (tmp_path / "final_config.yaml").write_text("C: 20\nseed: 0\n")
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    (tmp_path / "resid_mlp_train_config.yaml").write_text("resid_mlp_model_config:\n  act_fn_name: gelu\n")
    states = {step: resid() for step in (0, 900, 10000)}
    torch.save(states[0], tmp_path / "resid_mlp.pth")
    for step, state in states.items():
        parts = {"_components.layers-0-mlp_in.V": torch.randn(9, 20)}
        torch.save({f"target_model.{n}": t for n, t in state.items()} | parts, tmp_path / f"model_{step}.pth")
    bundle = read_weights(str(tmp_path))
    assert torch.equal(bundle.tensors["target_model.W_E"], states[10000]["W_E"])
    assert bundle.shape("_components.layers-0-mlp_in.V") == (9, 20)
    model = load_model(str(tmp_path))
    assert torch.equal(model.state_dict()["W_E"], states[10000]["W_E"])
    assert model.config.activation == "gelu"


def test_a_residual_mlp_that_ours_is_not(tmp_path):
    (tmp_path / "resid_mlp_train_config.yaml").write_text("act_fn_name: relu\n")
    torch.save(resid() | {"W_U": torch.randn(9, 6)}, tmp_path / "a.pth")
    with pytest.raises(UsageError, match="reads its output by a map of its own"):
        load_model(str(tmp_path / "a.pth"))
    torch.save(resid() | {"layers.0.mlp_in.bias": torch.ones(4)}, tmp_path / "b.pth")
    with pytest.raises(UsageError, match="biases in one of its maps only"):
        load_model(str(tmp_path / "b.pth"))

"""Small models that several tests prune."""

import pytest
import torch
from torch import Tensor, nn

from digsite.models import build, parse


class Mlp(nn.Module):
    """A plain network whose first map is used twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.shared, self.out = nn.Linear(12, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(self.shared(torch.relu(self.shared(x)))))


@pytest.fixture
def mlp():
    return Mlp()


@pytest.fixture
def llama():
    """A maker of the same small Llama again and again."""
    config = {
        "kind": "llama",
        "vocab": 40,
        "d_model": 16,
        "d_mlp": 24,
        "n_heads": 2,
        "n_kv_heads": 1,
        "context": 24,
    }
    return lambda n_layers=2: build(parse({**config, "n_layers": n_layers}))


@pytest.fixture
def tokens():
    return lambda n=5, length=16, seed=0: torch.randint(
        0, 40, (n, length), generator=torch.Generator().manual_seed(seed)
    )


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Hugging Face folders of three families, in several shards, with a tokenizer of single bytes."""
    transformers = pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("hf")
    torch.manual_seed(0)
    small = {
        "vocab_size": 300,
        "max_position_embeddings": 32,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    made = {
        "llama": transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                hidden_size=16,
                intermediate_size=24,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                **small,
            )
        ),
        "gpt2": transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                n_embd=16, n_layer=2, n_head=2, vocab_size=300, n_positions=32, bos_token_id=1, eos_token_id=2
            )
        ),
        "opt": transformers.OPTForCausalLM(
            transformers.OPTConfig(
                hidden_size=16,
                ffn_dim=24,
                num_hidden_layers=2,
                num_attention_heads=2,
                word_embed_proj_dim=16,
                **small,
            )
        ),
    }
    for name, model in made.items():
        model.save_pretrained(root / name, max_shard_size="10KB")
        pieces = ["<unk>\t0", "<s>\t0", "</s>\t0", *(f"<0x{byte:02X}>\t0" for byte in range(256)), "▁\t0"]
        (root / name / "tok.vocab").write_text("\n".join(pieces) + "\n")
    return root


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Twelve documents of text, as a JSON list."""
    path = tmp_path_factory.mktemp("text") / "documents.json"
    path.write_text(
        "["
        + ", ".join(f'"A dog number {i} went to the hill and saw {i * 7} birds there."' for i in range(12))
        + "]"
    )
    return path

"""Twelve modules as users write them, each verb in three lines: the module, its data, the call."""

import pytest
import torch
from torch import nn

import digsite

ROWS = 16


class Convolutional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3)
        self.head = nn.Linear(8, 6)

    def forward(self, x):
        return self.head(self.conv2(self.conv1(x).relu()).relu().mean((-1, -2)))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(5, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.lstm(x)[0][:, -1])


class NamedInputs(nn.Module):
    """Two inputs by name, a dict out."""

    def __init__(self):
        super().__init__()
        self.words, self.extra, self.head = nn.Embedding(30, 8), nn.Linear(4, 8), nn.Linear(8, 5)

    def forward(self, input_ids, features):
        return {"logits": self.head(self.words(input_ids).mean(1) + self.extra(features))}


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x):
        for layer in self.inner:
            x = x + layer(self.norm(x)).relu()
        return self.head(x), x


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 16)
        self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
        self.unembed = nn.Linear(16, 30)

    def forward(self, tokens):
        return self.unembed(self.body(self.embed(tokens)))


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(10, 6)
        self.decode = nn.Linear(6, 10)

    def forward(self, x):
        return self.decode(self.encode(x).relu())


class Bilinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.out = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.left(x) * self.right(x))


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(7, 12), nn.BatchNorm1d(12), nn.GELU(), nn.Dropout(0.1), nn.Linear(12, 4)
        )

    def forward(self, x):
        return self.body(x)


def tokens(*shape):
    return torch.randint(0, 30, shape)


def transformers_model(name, **settings):
    transformers = pytest.importorskip("transformers")
    small = {
        "vocab_size": 30,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = getattr(transformers, f"{name}Config")(**small, max_position_embeddings=32, **settings)
    made = {"Llama": "LlamaForCausalLM", "Bert": "BertForSequenceClassification"}[name]
    return getattr(transformers, made)(config).eval()


def mask_batch():
    return {"input_ids": tokens(ROWS, 12), "attention_mask": torch.ones(ROWS, 12, dtype=torch.long)}


def loader(rows):
    return torch.utils.data.DataLoader(rows, batch_size=4)


MODULES = {
    "mlp": (
        lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)),
        lambda: torch.randn(ROWS, 6),
        "0",
    ),
    "convolutional": (Convolutional, lambda: torch.randn(ROWS, 1, 8, 8), "head"),
    "recurrent": (Recurrent, lambda: torch.randn(ROWS, 7, 5), "out"),
    "named inputs": (
        NamedInputs,
        lambda: {"input_ids": tokens(ROWS, 6), "features": torch.randn(ROWS, 4)},
        "head",
    ),
    "residual": (Residual, lambda: torch.randn(ROWS, 8), "inner.0"),
    "language": (Language, lambda: tokens(ROWS, 10), "body.layers.0.linear1"),
    "autoencoder": (Autoencoder, lambda: loader(torch.randn(ROWS, 10)), "encode"),
    "bilinear": (Bilinear, lambda: torch.randn(ROWS, 6), "left"),
    "normed": (Normed, lambda: loader([(torch.randn(7), 1) for _ in range(ROWS)]), "body.0"),
    "bert": (lambda: transformers_model("Bert"), mask_batch, "bert.encoder.layer.0.intermediate.dense"),
    "llama": (lambda: transformers_model("Llama"), lambda: tokens(ROWS, 12), "model.layers.0.mlp.up_proj"),
    "doubles": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2)).double(),
        lambda: torch.randn(ROWS, 6).double(),
        "0",
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_every_verb_answers_in_three_lines(name, capfd):
    make, data, layer = MODULES[name]
    torch.manual_seed(0)
    model, rows = make().eval(), data()
    capfd.readouterr()
    assert len(digsite.read(model).layers) > 0
    before = {n: p.clone() for n, p in model.named_parameters()}
    pruned = digsite.prune(model, rows, sparsity=0.5)
    assert (
        pruned.ledger["sparsity"].between(0.3, 0.7).all() and pruned.drift is not None
    ) or pruned.before is not None
    parts = digsite.decompose(model, layer, rows, steps=4, C=4, batch=4)
    assert list(parts.modules) == [layer]
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters()), (
        "the user's own stays as it was"
    )
    assert "checkpoints" in " ".join(digsite.track([model, make().eval()]).lines())
    if name in ("mlp", "normed"):
        assert digsite.graft(make(), make(), new=(3,), old=(0, 1), shared=(1,), foreign=(2,)) is not None
    said = capfd.readouterr()
    assert "LOAD REPORT" not in said.err + said.out and "it/s]" not in said.err

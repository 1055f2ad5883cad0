"""Three lines from a notebook for each verb, on modules as people write them."""

import pytest
import torch
from model_families import batch_of, byte_tokenizer, make_module
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import digsite
from digsite.base.errors import UsageError


class Residual(nn.Module):
    """A convolutional network with BatchNorm, a skip and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.inner, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        return self.head((x + torch.relu(self.inner(x))).mean((2, 3)))


class Named(nn.Module):
    """A forward of named inputs and a dict of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(5, 8), nn.Linear(3, 8)

    def forward(self, left, right):
        return {"logits": torch.relu(self.left(left)) @ self.right.weight + self.right(right)[:, :3]}


class Recurrent(nn.Module):
    """An LSTM whose weights are no maps of ours, and a head that is one."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class TiedWords(nn.Module):
    """Token ids to logits over the same table, with positions as a bare parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.places = nn.Embedding(20, 8), nn.Parameter(torch.randn(6, 8))
        self.mix, self.out = nn.Linear(8, 8), nn.Linear(8, 20, bias=False)
        self.out.weight = self.table.weight

    def forward(self, ids):
        return self.out(torch.tanh(self.mix(self.table(ids) + self.places)))


class Listed(nn.Module):
    """Layers in a ModuleList and a ModuleDict, with LayerNorm between."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 6) for _ in range(3)])
        self.heads = nn.ModuleDict({"one": nn.Linear(6, 4)})
        self.norm = nn.LayerNorm(6)

    def forward(self, x):
        for layer in self.layers:
            x = x + torch.relu(layer(self.norm(x)))
        return self.heads["one"](x)


class Functional(nn.Module):
    """Weights as bare parameters, used by functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(16, 6) / 3), nn.Linear(16, 4)

    def forward(self, x):
        return self.second(torch.relu(nn.functional.linear(x, self.first)))


def nested() -> nn.Module:
    inner = nn.Sequential(nn.Linear(6, 12), nn.Sequential(nn.GELU(), nn.Linear(12, 12)))
    return nn.Sequential(inner, nn.ReLU(), nn.Dropout(0.1), nn.Linear(12, 4))


def normed() -> nn.Module:
    first = nn.utils.parametrizations.weight_norm(nn.Linear(6, 16))
    return nn.Sequential(first, nn.ReLU(), nn.Linear(16, 4))


def sounds() -> nn.Module:
    head = [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 3)]
    return nn.Sequential(nn.Conv1d(2, 8, 5, padding=2), nn.ReLU(), nn.Conv1d(8, 8, 3), nn.ReLU(), *head)


def attention(batch_first: bool) -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def loader(*shape: int) -> DataLoader:
    return DataLoader(TensorDataset(torch.randn(*shape), torch.zeros(shape[0])), batch_size=4)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))


# A name, the module, its data, and a module to decompose ("" where there is none that can be).
MODULES = {
    "mlp, tensor": (mlp, lambda: torch.randn(24, 6), "0"),
    "mlp, loader": (mlp, lambda: loader(24, 6), "2"),
    "cnn, loader": (Residual, lambda: loader(12, 1, 8, 8), "head"),
    "named inputs": (Named, lambda: {"left": torch.randn(12, 5), "right": torch.randn(12, 3)}, ""),
    "lstm": (Recurrent, lambda: torch.randn(12, 7, 5), "head"),
    "attention, batch first": (lambda: attention(True), lambda: torch.randn(6, 5, 8), "layers.*.linear1"),
    "attention, tokens first": (lambda: attention(False), lambda: torch.randn(6, 5, 8), "layers.*.linear1"),
    "tied words": (TiedWords, lambda: torch.randint(0, 20, (12, 6)), "mix"),
    "module list": (Listed, lambda: torch.randn(24, 6), "layers.*"),
    "functional": (Functional, lambda: torch.randn(24, 6), "second"),
    "nested sequential": (nested, lambda: loader(24, 6), "0.1.1"),
    "weight norm": (normed, lambda: torch.randn(24, 6), "2"),
    "conv1d": (sounds, lambda: torch.randn(12, 2, 16), "6"),
    "bfloat16": (lambda: mlp().bfloat16(), lambda: torch.randn(24, 6).bfloat16(), "0"),
    "autoencoder": (
        lambda: nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 6)),
        lambda: torch.randn(24, 6),
        "2",
    ),
}
LIBRARY = {
    "gpt2": "*.c_fc",
    "bert": "*.intermediate.dense",
    "t5": "",
    "vit": "*.mlp.fc1",
    "mixtral": "*.q_proj",
}
SMALL = {"steps": 2, "C": 4, "batch": 4, "compile": "never"}


@pytest.mark.parametrize("name", MODULES)
def test_a_users_module(name, capfd):
    make, data, pattern = MODULES[name]
    torch.manual_seed(0)
    model = make().eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    pruned = digsite.prune(model, data())
    assert 0.3 < pruned.ledger["sparsity"].mean() < 0.7 and pruned.drift is not None
    assert len(digsite.read(model).layers) > 0
    if pattern:
        assert digsite.decompose(model, pattern, data(), **SMALL).modules
    assert len(digsite.track([model, pruned.model]).lines()) == 1
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()), "left as it was"
    assert "forward" not in vars(model) and not capfd.readouterr().out


@pytest.mark.parametrize("family", LIBRARY)
def test_a_module_of_transformers_with_dict_batches(family, transformers, capfd):
    model, batch = make_module(family, transformers), batch_of(family, 8)
    rows = [{key: value[i] for key, value in batch.items()} for i in range(8)]
    pruned = digsite.prune(model, DataLoader(rows, batch_size=2), pattern="2:4")
    assert (
        (pruned.ledger["sparsity"] == 0.5).all()
        and pruned.drift is not None
        and "left as they are" in repr(pruned)
    )
    if LIBRARY[family]:
        assert digsite.decompose(model, LIBRARY[family], batch, **SMALL).modules
    assert len(digsite.read(model).layers) > 0
    said = capfd.readouterr()
    assert not said.out and not said.err


def test_a_padded_batch_is_refused_where_padding_would_be_learned(transformers):
    tokenizer = byte_tokenizer(transformers)
    batch = tokenizer(["a longer text", "short"], padding=True, return_tensors="pt")
    with pytest.raises(UsageError, match="The batch is padded"):
        digsite.decompose(make_module("gpt2", transformers), "*.c_fc", batch, **SMALL)
    assert digsite.prune(make_module("gpt2", transformers), batch).lines


def test_donor_and_receiver_in_one_line():
    donor, receiver = mlp().eval(), mlp().eval()
    done = digsite.graft(donor, receiver, old=(0, 1), shared=(1,), new=(2,), foreign=())
    assert done.verdict.startswith("Unknown") and done.model(torch.randn(2, 6)).shape[0] == 2
    with pytest.raises(UsageError, match="needs a donor and a receiver"):
        digsite.graft(donor)


def test_wrong_data_is_one_sentence():
    for data in (torch.randn(4, 5), {"x": torch.randn(4, 6)}, "nowhere"):
        with pytest.raises(UsageError) as error:
            digsite.prune(mlp().eval(), data)
        assert "\n" not in error.value.message

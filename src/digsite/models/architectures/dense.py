"""Fully connected networks, on vectors, images, tokens and sparse features."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.models.architectures import Architecture
from digsite.models.configs.dense import (
    MlpConfig,
    ModularMlpConfig,
    ResidMlpConfig,
    TmsConfig,
    TokenMlpConfig,
)
from digsite.models.parts import ACTIVATIONS


class Mlp(nn.Module, Architecture):
    """A fully connected network: images are flattened, hidden layers are activated and dropped out."""

    NAME = "mlp"

    def __init__(self, config: MlpConfig) -> None:
        super().__init__()
        pairs = list(pairwise(config.sizes))
        self.layers = nn.ModuleList(nn.Linear(i, o, bias=config.bias) for i, o in pairs)
        n_hidden = len(pairs) - 1
        n_dropped = n_hidden if config.dropout_layers is None else min(config.dropout_layers, n_hidden)
        self.dropouts = nn.ModuleList(nn.Dropout(config.dropout) for _ in range(n_dropped))
        self.activate = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, out) of x (n, ...): whatever is behind the first axis is flattened, so images need no
        reshaping outside.
        """
        x = x.flatten(1)
        for i, layer in enumerate(self.layers[:-1]):
            x = self.activate(layer(x))
            if i < len(self.dropouts):
                x = self.dropouts[i](x)
        return self.layers[-1](x)


class TokenMlp(nn.Module, Architecture):
    """Token embeddings side by side into an MLP."""

    NAME = "token_mlp"

    def __init__(self, config: TokenMlpConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(config.vocab, config.d_embed)
        sizes = [config.length * config.d_embed, *config.hidden, config.n_classes]
        shared = config.model_dump(include={"activation", "dropout", "dropout_layers"})
        self.mlp = Mlp(MlpConfig.model_validate({"sizes": sizes, **shared}))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (n, n_classes) of tokens (n, length): the length is fixed, since each place has its own
        columns of weights.
        """
        return self.mlp(self.embed(tokens))


class ModularMlp(nn.Module, Architecture):
    """Two embeddings, joined, through one or two ReLU layers; the published checkpoints' names."""

    NAME = "modular_mlp"

    def __init__(self, config: ModularMlpConfig) -> None:
        super().__init__()
        self.config = config
        joined = config.d_embed * (2 if config.join == "concatenate" else 1)
        self.embed = nn.Embedding(config.modulus, config.d_embed)
        self.l1 = nn.Linear(joined, config.d_hidden if config.n_hidden == 2 else config.d_out)
        self.l2 = nn.Linear(config.d_hidden, config.d_out) if config.n_hidden == 2 else None
        self.unembed = nn.Linear(config.d_out, config.modulus, bias=False)

    def forward(self, pairs: Tensor) -> Tensor:
        """Logits (n, modulus) of the sum of pairs (n, 2) of numbers."""
        a, b = self.embed(pairs).unbind(-2)
        x = F.relu(self.l1(torch.cat([a, b], -1) if self.config.join == "concatenate" else a + b))
        if self.l2 is not None:
            x = F.relu(self.l2(x))
        return self.unembed(x)


class ResidLayer(nn.Module):
    """One residual layer: r + W_out act(W_in r), both maps hookable linear layers."""

    def __init__(self, config: ResidMlpConfig) -> None:
        super().__init__()
        self.mlp_in = nn.Linear(config.d_resid, config.d_mlp, bias=config.bias)
        self.mlp_out = nn.Linear(config.d_mlp, config.d_resid, bias=config.bias)
        self.activate = ACTIVATIONS[config.activation]

    def forward(self, residual: Tensor) -> Tensor:
        """(n, d_resid) to (n, d_resid)."""
        return residual + self.mlp_out(self.activate(self.mlp_in(residual)))


class ResidMlp(nn.Module, Architecture):
    """x W_E, then r += mlp_out(act(mlp_in(r))) in each layer, read off by W_U = W_E^T."""

    NAME = "resid_mlp"

    def __init__(self, config: ResidMlpConfig) -> None:
        super().__init__()
        self.config = config
        self.W_E = nn.Parameter(torch.empty(config.n_features, config.d_resid), config.train_embedding)
        self.layers = nn.ModuleList(ResidLayer(config) for _ in range(config.n_layers))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Rows of W_E of length one in random directions: with more features than dimensions they overlap a
        little, which is the interference that the network has to live with. W_U is their transpose, so a
        feature reads back itself exactly.
        """
        with torch.no_grad():
            rows = torch.randn(self.W_E.shape)
            self.W_E.copy_(rows / rows.norm(dim=-1, keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, n_features) of sparse features x (n, n_features)."""
        residual = x @ self.W_E
        for layer in self.layers:
            residual = layer(residual)
        return residual @ self.W_E.T


class TransposedLinear(nn.Module):
    """A linear layer that uses another one's weight transposed and owns only its bias."""

    def __init__(self, source: nn.Linear) -> None:
        super().__init__()
        self._source = [source]  # in a list, so that the weight is not registered twice
        self.bias = nn.Parameter(torch.zeros(source.in_features))

    @property
    def weight(self) -> Tensor:
        """A view and no copy: a change of the source is a change of this layer, and gradients of both add up in
        the source.
        """
        return self._source[0].weight.T

    def reset_parameters(self) -> None:
        """The bias alone; the weight is drawn by the layer that owns it."""
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(n, out of the source) to (n, in of the source)."""
        return F.linear(x, self.weight, self.bias)


class Tms(nn.Module, Architecture):
    """ReLU(W2 H W1 x + b), with W2 the transpose of W1 where they are tied."""

    NAME = "tms"

    def __init__(self, config: TmsConfig) -> None:
        super().__init__()
        self.config = config
        self.linear1 = nn.Linear(config.n_features, config.n_hidden, bias=False)
        self.hidden_layers = nn.ModuleList(
            nn.Linear(config.n_hidden, config.n_hidden, bias=False) for _ in range(config.n_hidden_layers)
        )
        self.hidden_layers.requires_grad_(config.train_hidden)
        untied = nn.Linear(config.n_hidden, config.n_features)
        self.linear2 = TransposedLinear(self.linear1) if config.tied else untied
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier's for the maps, as in the reference. Square layers that start as identities make the deep toy equal to the
        shallow one before training; output biases start at zero or normal, for published targets differ in that.
        """
        nn.init.xavier_normal_(self.linear1.weight)
        if isinstance(self.linear2, nn.Linear):
            nn.init.xavier_normal_(self.linear2.weight)
        (nn.init.zeros_ if self.config.bias == "zero" else nn.init.normal_)(self.linear2.bias)
        for layer in self.hidden_layers:
            assert isinstance(layer, nn.Linear)
            (nn.init.eye_ if self.config.hidden == "identity" else nn.init.xavier_normal_)(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions (n, n_features) of sparse features x (n, n_features) through n_hidden numbers."""
        x = self.linear1(x)
        for layer in self.hidden_layers:
            x = layer(x)
        return F.relu(self.linear2(x))

    def untied(self) -> "Tms":
        """The same function with two separate matrices, as a decomposition of each of them needs."""
        copy = Tms(self.config.model_copy(update={"tied": False}))
        with torch.no_grad():
            copy.linear1.weight.copy_(self.linear1.weight)
            assert isinstance(copy.linear2, nn.Linear)
            copy.linear2.weight.copy_(self.linear2.weight)
            copy.linear2.bias.copy_(self.linear2.bias)
            for parameter, its in zip(self.hidden_layers.parameters(), copy.hidden_layers.parameters()):
                its.copy_(parameter)
        return copy

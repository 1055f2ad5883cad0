"""Token embeddings side by side into an MLP."""

from torch import Tensor, nn

from digsite.models.architectures.mlp import Mlp
from digsite.models.configs.mlp import MlpConfig
from digsite.models.configs.token_mlp import TokenMlpConfig


class TokenMlp(nn.Module):
    def __init__(self, config: TokenMlpConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(config.vocab, config.d_embed)
        self.mlp = Mlp(
            MlpConfig(
                sizes=[config.length * config.d_embed, *config.hidden, config.n_classes],
                activation=config.activation,
                dropout=config.dropout,
                dropout_layers=config.dropout_layers,
            )
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return self.mlp(self.embed(tokens))


def build(config: TokenMlpConfig) -> TokenMlp:
    return TokenMlp(config)

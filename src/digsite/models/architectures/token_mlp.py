"""Token embeddings side by side into an MLP."""

from torch import Tensor, nn

from digsite.models.architectures.mlp import Mlp
from digsite.models.configs.mlp import MlpConfig
from digsite.models.configs.token_mlp import TokenMlpConfig


class TokenMlp(nn.Module):
    def __init__(self, config: TokenMlpConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(config.vocab, config.d_embed)
        sizes = [config.length * config.d_embed, *config.hidden, config.n_classes]
        shared = config.model_dump(include={"activation", "dropout", "dropout_layers"})
        self.mlp = Mlp(MlpConfig.model_validate({"sizes": sizes, **shared}))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.mlp(self.embed(tokens))


def build(config: TokenMlpConfig) -> TokenMlp:
    return TokenMlp(config)

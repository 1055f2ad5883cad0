"""Networks of every kind that the graph is built for."""

import torch
from torch import nn

from digsite.models import build, parse

CONFIGS = {
    "relu mlp": {"kind": "mlp", "sizes": [16, 12, 8, 4], "activation": "relu"},
    "tanh mlp": {"kind": "mlp", "sizes": [16, 12, 8, 4], "activation": "tanh"},
    "gelu mlp": {"kind": "mlp", "sizes": [16, 12, 8, 4], "activation": "gelu"},
    "small cnn": {"kind": "small_cnn", "width": 6},
    "wild cnn": {
        "kind": "wild_cnn",
        "channels": [4, 6, 4],
        "activations": ["relu", "relu", "tanh"],
        "skips": [None, 0, 1],
    },
    "flat cnn": {"kind": "cnn", "image": (1, 8, 8), "channels": [4, 6], "hidden": [8]},
    "gru": {"kind": "gru", "n_inputs": 8, "n_hidden": 6},
    "post-norm transformer": {
        "kind": "transformer",
        "image": (1, 8, 8),
        "patch": 4,
        "d_model": 8,
        "n_heads": 2,
        "d_mlp": 12,
    },
    "pre-norm transformer": {
        "kind": "transformer",
        "image": (1, 8, 8),
        "patch": 4,
        "d_model": 8,
        "n_heads": 2,
        "d_mlp": 12,
        "norm": "pre",
    },
    "llama with shared keys": {
        "kind": "llama",
        "d_model": 16,
        "n_heads": 4,
        "n_kv_heads": 2,
        "d_mlp": 24,
        "n_layers": 2,
        "vocab": 20,
    },
    "gpt2": {"kind": "gpt2", "d_model": 16, "n_heads": 2, "n_layers": 2, "vocab": 20, "context": 16},
}


class NormedCnn(nn.Module):
    """Batch norm and groups, which our own families do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1, groups=2), nn.BatchNorm2d(6)
        self.conv3, self.bn3 = nn.Conv2d(6, 5, 3, padding=1), nn.BatchNorm2d(5)
        self.relu, self.head = nn.ReLU(), nn.Linear(5, 3)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.relu(self.bn3(self.conv3(x)))
        return self.head(x.mean((-2, -1)))


class LowRank(nn.Module):
    """A linear layer with a low-rank pair beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 12)
        self.first.lora_A = nn.Parameter(torch.randn(3, 16))
        self.first.lora_B = nn.Parameter(torch.randn(12, 3))
        self.relu, self.second = nn.ReLU(), nn.Linear(12, 4)

    def forward(self, x):
        x = x.flatten(1)
        return self.second(self.relu(self.first(x) + x @ self.first.lora_A.T @ self.first.lora_B.T))


def make(name: str) -> nn.Module:
    """A network whose every weight, gain and bias is away from its special initial value."""
    torch.manual_seed(0)
    others = {"normed cnn": NormedCnn, "low rank": LowRank}
    model = others[name]() if name in others else build(parse(CONFIGS[name]))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn(p.shape))
        for key, buffer in model.named_buffers():
            if "running" in key:
                buffer.copy_(torch.rand(buffer.shape) + 0.5)
    return model.eval()


ALL = [*CONFIGS, "normed cnn", "low rank"]

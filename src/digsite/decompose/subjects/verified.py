"""A trained transformer whose circuit is proven on every input: brackets, balanced or not.

Nobody knows its parts, but its answer is proven on all 1,024 inputs with a margin of 6.4 (interval arithmetic; Naughton,
"verified-circuits", MIT), so whatever masks do to it can be tried on the whole domain. What is known of the inside: depth
at each position, a flag where it is negative, sums of both, balanced if the last depth is 0 and no flag is set.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from digsite.base.errors import DigsiteError, NotFound
from digsite.data.fetch import find_file
from digsite.decompose.core.starts import numerical_rank
from digsite.decompose.subjects.compiled import CompiledProgram

FOLDER, NAME = "verified_circuits", "dyck10"
WRITERS = (
    "Wo",
    "mlp2",
)  # layers that write to the stream; every other reads it, but for those that read neurons


class BracketBlock(nn.Module):
    """Causal attention is added to the stream, then a relu MLP; no LayerNorm."""

    def __init__(self, width: int, hidden: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.Wq, self.Wk, self.Wv, self.Wo = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.mlp1, self.mlp2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, positions, width) -> the same."""
        q, k, v = (w(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for w in (self.Wq, self.Wk, self.Wv))
        scores = q @ k.mT / q.shape[-1] ** 0.5
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=x.device).triu(1)
        pattern = scores.masked_fill(future, -torch.inf).softmax(-1)
        x = x + self.Wo((pattern @ v).transpose(1, 2).flatten(2))
        return x + self.mlp2(self.mlp1(x).relu())


class BracketTransformer(nn.Module):
    """Two blocks, the stream summed over positions, and a read-out of two layers; names are those of the stored file."""

    def __init__(self, width: int = 32, hidden: int = 64, length: int = 10, layers: int = 2) -> None:
        super().__init__()
        self.tok, self.pos = nn.Embedding(2, width), nn.Parameter(torch.zeros(length, width))
        self.blocks = nn.ModuleList(BracketBlock(width, hidden) for _ in range(layers))
        self.h1, self.h2 = nn.Linear(width, width), nn.Linear(width, 2)
        self.requires_grad_(False).eval()

    def forward(self, ids: Tensor) -> Tensor:
        """Token numbers (batch, positions), 0 opening and 1 closing -> (batch, 2): not balanced, balanced."""
        x = self.tok(ids) + self.pos[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.h2(self.h1(x.sum(1)).relu())


class VerifiedNetwork(CompiledProgram):
    """What the exam asks of a network whose answers are proven and whose variables nobody knows by direction."""

    @property
    def variables(self) -> dict[str, list[int]]:
        """None: nobody says along which directions depth and flag are written."""
        return {}

    @property
    def knows_flow(self) -> bool:
        """No: nobody knows which direction is what."""
        return False

    @property
    def sites(self) -> list[str]:
        """Every dense layer, by module name."""
        return [name for name, module in self.model.named_modules() if isinstance(module, nn.Linear)]

    def rank(self, site: str) -> int:
        """Of the site's matrix, numerically: trained matrices have no exact one."""
        return numerical_rank(self.model.get_parameter(f"{site}.weight"))

    def variables_at(self, site: str) -> list[str]:
        """None, as there are none."""
        return []

    def wanted(self, ids: Tensor) -> Tensor:
        """(batch,) 1 where the brackets are balanced: the specification itself, not the network's answer."""
        depth = (1 - 2 * ids).cumsum(1)
        return ((depth[:, -1] == 0) & (depth >= 0).all(1)).long()

    def is_right(self, output: Tensor, wanted: Tensor) -> Tensor:
        """(batch,) whether the larger of two outputs (batch, 2) is the specification's."""
        return output.argmax(-1) == wanted


def load_verified() -> VerifiedNetwork:
    """The published network, from DIGSITE_DATA, with every input there is; checked against the specification."""
    path = find_file(FOLDER, f"{NAME}.safetensors")
    if path is None:
        raise NotFound(f"'{NAME}' is not here.", hint=f"It comes from DIGSITE_DATA ({FOLDER}).")
    model = BracketTransformer()
    model.load_state_dict(load_file(path))
    numbers = torch.arange(1024)
    inputs = (numbers[:, None] >> torch.arange(9, -1, -1)) & 1
    network = VerifiedNetwork(NAME, model, {}, torch.eye(model.tok.embedding_dim), (inputs,), True)
    if not network.is_right(model(inputs), network.wanted(inputs)).all():
        raise DigsiteError(f"'{path}' is not the network that was verified: it does not answer rightly.")
    return network


def rotate_network(network: VerifiedNetwork, seed: int) -> VerifiedNetwork:
    """The same function with its residual stream turned by a random orthogonal matrix drawn from `seed`."""
    turn = draw_turn(len(network.basis), seed)
    return replace(network, model=turn_stream(network.model, turn, apart=("h2",)), basis=turn.float())


def draw_turn(width: int, seed: int) -> Tensor:
    """A random orthogonal matrix (width, width) in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))[0]


def turn_stream(model: nn.Module, turn: Tensor, apart: tuple[str, ...] = ()) -> nn.Module:
    """A copy whose stream is turned by an orthogonal matrix; layers named in `apart` neither read nor write it.

    A layer that reads two embeddings side by side is turned half by half.
    """
    state = {}
    for name, value in model.state_dict().items():
        layer, last = name.rpartition(".")[0].rpartition(".")[2], name.rpartition(".")[2]
        wide = value.double()
        if layer in WRITERS:
            wide = turn.T @ wide if last == "weight" else wide @ turn
        elif last != "bias" and layer not in apart:
            wide = (wide.unflatten(-1, (-1, len(turn))) @ turn).flatten(-2)
        state[name] = wide.to(value.dtype)
    turned = deepcopy(model)
    turned.load_state_dict(state)
    return turned

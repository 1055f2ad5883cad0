"""The part of the graph network that compares a network's end-to-end map with what its zoo agrees on."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.read.core.agreement import Agreement
from digsite.read.core.edges import Batch

IDENTITY_LIMIT = 4096  # inputs beyond this (a vocabulary) share one embedding
_MIXED = 24


def safe(key: str) -> str:
    """Parameter names may not hold dots."""
    return key.replace(".", "_").replace(":", "_")


class LinearPath(nn.Module):
    """Learned input patterns are sent along the weights alone (no activation, no bias: the network is not run) and
    what arrives at each output is compared with learned templates."""

    def __init__(self, identities: Mapping[str, int], signals: int) -> None:
        super().__init__()
        inputs = {safe(k): n for k, n in identities.items() if k.startswith("input") and n <= IDENTITY_LIMIT}
        outputs = {safe(k): n for k, n in identities.items() if k.startswith("output") and n <= 64}
        self.patterns = nn.ParameterDict(
            {k: nn.Parameter(torch.randn(n, signals) / n**0.5) for k, n in inputs.items()}
        )
        self.templates = nn.ParameterDict(
            {k: nn.Parameter(torch.randn(n, signals)) for k, n in outputs.items()}
        )
        self.mix = nn.ModuleDict({k: nn.Linear(n * signals, _MIXED) for k, n in outputs.items()})
        self.signals, self.n_features = signals, 7 + 2 * signals + _MIXED

    @torch.no_grad()
    def start_from(self, agreements: Mapping[str, Agreement]) -> None:
        """Begin at the directions and the mean map that the training zoo agrees on."""
        for key, zoo in agreements.items():
            n_inputs, n_outputs = key.split("x")
            pattern, template = self.patterns[f"input_{n_inputs}"], self.templates[f"output_{n_outputs}"]
            k = min(self.signals, zoo.map_basis.shape[1])
            pattern[:, :k] = zoo.map_basis[:, :k].float()
            template[:, :k] = (zoo.template @ zoo.map_basis[:, :k]).float() * self.signals**0.5

    def forward(self, batch: Batch) -> Tensor:
        found = self._ends(batch)
        if found is None:
            return batch.scales.new_zeros(len(batch.scales), self.n_features)
        key, first, rows, ends = found
        template = self.templates[key]
        overall = F.cosine_similarity(ends.flatten(1), template.flatten()[None], dim=1)
        each = F.cosine_similarity(ends, template[None], dim=2)
        norms = ends.norm(dim=2).clamp_min(1e-8).log()
        unit = ends / ends.flatten(1).norm(dim=1).clamp_min(1e-8)[:, None, None]
        few = torch.stack(
            [overall, each.mean(1), each.amin(1), each.amax(1), each.std(1), norms.std(1), norms.amin(1)], 1
        )
        energy = [_log_energy(first, rows), _log_energy(unit, ends.new_full((len(ends),), ends.shape[1])) + 2]
        return torch.cat([few, *energy, self.mix[key](unit.flatten(1) * 4)], 1)

    def _ends(self, batch: Batch) -> tuple[str, Tensor, Tensor, Tensor] | None:
        """The outputs' key, what arrives at the first hidden set and its size, and at the outputs less their mean."""
        nodes = batch.graph.nodes
        out = next((i for i in reversed(range(len(nodes))) if nodes[i].kind == "output"), None)
        source = safe(f"input:{nodes[0].size}")
        if (
            out is None
            or source not in self.patterns
            or safe(f"output:{nodes[out].size}") not in self.templates
        ):
            return None
        state: dict[int, Tensor] = {0: self.patterns[source].expand(len(batch.scales), -1, -1)}
        first, rows = None, batch.scales
        for block, edges in zip(batch.graph.blocks, batch.edges):
            if block.source not in state or block.source == block.target:
                continue
            count = batch.masks[block.source].sum(1).sqrt()
            sent = torch.bmm(edges[:, :, 0], state[block.source]) / count[:, None, None]
            state[block.target] = state[block.target] + sent if block.target in state else sent
            if first is None:
                first, rows = state[block.target], batch.masks[block.target].sum(1)
        if out not in state or first is None:
            return None
        return safe(f"output:{nodes[out].size}"), first, rows, state[out] - state[out].mean(1, keepdim=True)


def _log_energy(values: Tensor, count: Tensor) -> Tensor:
    """(B, signals): mean square over the real neurons, whatever their order."""
    return (values.square().sum(1) / count[:, None]).clamp_min(1e-8).log() / 2

"""What kinds of networks a reader was trained on, so that it can refuse all others in one sentence."""

from collections.abc import Mapping
from dataclasses import dataclass

from digsite.base.errors import UsageError
from digsite.read.core.edges import block_key
from digsite.read.core.population import Group, Population


@dataclass(frozen=True)
class Shape:
    """Kinds of blocks with the number of edge functions of each, and the sizes of inputs and outputs."""

    keys: Mapping[str, int]
    identities: Mapping[str, int]

    def refuse_strangers(self, other: "Shape") -> None:
        strange = [k for k in other.keys if k not in self.keys]
        strange += [k for k in other.identities if k not in self.identities]
        if strange:
            raise UsageError(
                f"this reader was trained for another family: it has never seen {', '.join(map(repr, strange))}.",
                hint=f"It knows: {', '.join([*self.keys, *self.identities])}.",
            )


def shape_of(population: Population) -> Shape:
    keys: dict[str, int] = {}
    identities: dict[str, int] = {}
    for group in population.groups:
        identities |= {f"{n.kind}:{n.size}": n.size for n in group.graph.nodes if n.identity}
        for i in range(len(group.graph.blocks)):
            keys[block_key(group.graph, i)] = n_functions(group, i)
    return Shape(dict(sorted(keys.items())), dict(sorted(identities.items())))


def n_functions(group: Group, index: int) -> int:
    """Four of a single weight, six of a kernel."""
    block = group.graph.blocks[index]
    if block.layout not in ("conv", "spatial"):
        return 4
    weight = group.tensors[block.tensors[0]]
    spatial = weight.shape[2] // group.graph.nodes[block.source].size
    taps = weight[0, 0, 0].numel() if block.layout == "conv" else spatial
    return 4 if taps == 1 else 6

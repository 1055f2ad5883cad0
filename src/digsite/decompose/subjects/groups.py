"""Trained networks that compose elements of a group: which representations they use is known, by direction.

Modular addition is the cyclic group. Functions on a group split into isotypic subspaces, one for each irreducible
representation; a trained network uses a few of them (Chughtai, Chan, Nanda, "A toy model of universality", 2023; Zhong, Liu,
Tegmark, Andreas, "The clock and the pizza", 2023). So a part that reads an element, or writes to the answer, is a function on
the group, and one can ask whether that function lies in a single representation. Biases stay as they are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from digsite.base.errors import DigsiteError, NotFound
from digsite.data import irreps as ir
from digsite.data.fetch import find_file
from digsite.data.sequences import modular_addition
from digsite.decompose.subjects.compiled import CompiledProgram
from digsite.decompose.subjects.verified import BracketBlock, draw_turn, turn_stream
from digsite.models.pretrained import load_model

FOLDER, ADDITION = "group_transformers", "modular_addition"
TRANSFORMERS = ("c113_seed1", "c113_seed2", "c118_seed1", "d59_seed1", "s5_seed1", "s5_seed2")
MLPS = (
    "7r4zst7evs",
    "qlvxqhkvit",
)  # of modular addition: those of one hidden layer, whose sites all touch the group
GROUPS = (*TRANSFORMERS, *MLPS)
USED = 0.05  # share of an embedding above which a representation counts as used, where no list of them was published


class GroupTransformer(nn.Module):
    """One block over x, y and a third token, read at the last position."""

    def __init__(
        self, tokens: int, answers: int, width: int = 128, hidden: int = 512, heads: int = 4
    ) -> None:
        super().__init__()
        self.embed, self.pos = nn.Embedding(tokens, width), nn.Parameter(torch.zeros(3, width))
        self.block = BracketBlock(width, hidden, heads)
        self.unembed = nn.Linear(width, answers)
        self.requires_grad_(False).eval()

    def forward(self, ids: Tensor) -> Tensor:
        """Token numbers (batch, 3) -> (batch, answers)."""
        return self.unembed(self.block(self.embed(ids) + self.pos)[:, -1])


@dataclass(frozen=True)
class GroupNetwork(CompiledProgram):
    """What the exam asks of a network on a group with multiplication `table` (n, n).

    `harmonics` (n, n - 1): an orthonormal basis of functions on the group without the constant, sorted by
    representation; `named`: columns of each; `used`: the representations that the network is known to use.
    """

    table: Tensor
    harmonics: Tensor
    named: dict[str, list[int]]
    used: tuple[str, ...]

    @property
    def variables(self) -> dict[str, list[int]]:
        """The irreducible representations, by name."""
        return self.named

    @property
    def knows_flow(self) -> bool:
        """No: every element matters at every position, and each representation is computed from itself."""
        return False

    @property
    def sites(self) -> list[str]:
        """Dense layers at which a part is a function on the group; queries and keys have none, as attention is even."""
        dense = [name for name, module in self.model.named_modules() if isinstance(module, nn.Linear)]
        return [name for name in dense if not name.endswith((".Wq", ".Wk"))]

    def rank(self, site: str) -> int:
        """Directions that the known representations take, of each element that is read: no more is needed of a matrix."""
        elements = 2 if site == "l1" else 1
        return elements * sum(len(self.named[name]) for name in self.used)

    def variables_at(self, site: str) -> list[str]:
        """Those in use, everywhere."""
        return list(self.used)

    def knows_written(self, site: str) -> bool:
        """The last layers are known by what they add to the answers, the first ones by what they read of an element."""
        return site.endswith(("mlp2", "unembed"))

    @torch.no_grad()
    def view_directions(self, site: str, directions: Tensor) -> Tensor:
        """(C, n - 1, ways): each direction as a function on the group, in `harmonics`; one for each way an element
        takes to the site (a head, or a place in a pair).
        """
        return torch.stack(
            [(directions.double() @ way.double()) @ self.harmonics for way in self.list_ways(site)], -1
        )

    def list_ways(self, site: str) -> list[Tensor]:
        """Maps (d, n) from a direction at the site to a function on the group: of an element, or of the answer."""
        weight, n = self.model.get_parameter, len(self.table)
        elements = weight("embed.weight")[:n].T
        if site == "unembed":
            return [torch.eye(n)]
        if site.endswith("mlp2"):
            return [weight("unembed.weight").T]
        if site == "l1":  # two embeddings side by side
            none = torch.zeros_like(elements)
            return [torch.cat([elements, none]), torch.cat([none, elements])]
        if site.endswith("Wv"):
            return [elements]
        values = weight("block.Wv.weight") @ elements
        if site.endswith("Wo"):
            return [values]
        heads = self.model.get_submodule("block").heads
        written = weight("block.Wo.weight").unflatten(1, (heads, -1)).unbind(1)  # pyright: ignore[reportArgumentType]
        return [w @ v for w, v in zip(written, values.unflatten(0, (heads, -1)), strict=True)]  # pyright: ignore[reportArgumentType]

    def wanted(self, ids: Tensor) -> Tensor:
        """(batch,) the product of the two elements: the group itself, not the network's answer."""
        return self.table[ids[:, 0], ids[:, 1]]

    def is_right(self, output: Tensor, wanted: Tensor) -> Tensor:
        """(batch,) whether the largest output (batch, n) is the product's."""
        return output.argmax(-1) == wanted


def load_group(name: str) -> GroupNetwork:
    """A published network by name, from DIGSITE_DATA, with every pair there is; checked against its group."""
    model, table, used, characters = open_transformer(name) if name in TRANSFORMERS else open_mlp(name)
    regular = ir.split_regular(table)
    names = ir.names_by_character(regular, table, characters)
    bases = {
        known: np.linalg.eigh(projector)[1][:, -size:]
        for known, projector, size in zip(names, regular.projectors, regular.dimensions, strict=True)
        if known != "trivial"
    }
    ends = np.cumsum([basis.shape[1] for basis in bases.values()])
    named = {
        key: list(range(end - b.shape[1], end)) for (key, b), end in zip(bases.items(), ends, strict=True)
    }
    n = len(table)
    pairs = modular_addition(n)[0]
    if name in TRANSFORMERS:
        pairs = torch.cat([pairs, torch.full((len(pairs), 1), n)], 1)
    harmonics = torch.from_numpy(np.concatenate(list(bases.values()), 1))
    width = model.get_parameter("embed.weight").shape[1]
    network = GroupNetwork(
        name, model, {}, torch.eye(width), (pairs,), True, torch.from_numpy(table), harmonics, named, used
    )
    if not used:
        network = replace(network, used=find_used(network))
    if not network.is_right(model(pairs), network.wanted(pairs)).all():
        raise DigsiteError(f"'{name}' is not the network that was published: it does not answer rightly.")
    return network


def open_transformer(name: str) -> tuple[nn.Module, np.ndarray, tuple[str, ...], dict[str, np.ndarray]]:
    """A network of group_transformers: itself, its group's table, what its authors list as used, known characters."""
    w = load_file(find_stored(FOLDER, f"{name}.safetensors"))
    labels = {entry["file"]: entry for entry in json.loads(find_stored(FOLDER, "labels.json").read_text())}
    label = labels[f"{name}.safetensors"]
    with np.load(find_stored(FOLDER, "tables.npz"), allow_pickle=False) as stored:
        table = stored[label["group"]].astype(int)
    model = GroupTransformer(len(w["embed.W_E"]), len(table))
    state = {"embed.weight": w["embed.W_E"], "pos": w["pos_embed.W_pos"]}
    for letter in "QKV":
        state[f"block.W{letter.lower()}.weight"] = w[f"blocks.0.attn.W_{letter}"].mT.flatten(0, 1)
    state["block.Wo.weight"] = w["blocks.0.attn.W_O"].flatten(0, 1).T
    pairs = {
        "block.mlp1": "blocks.0.mlp.{}_in",
        "block.mlp2": "blocks.0.mlp.{}_out",
        "unembed": "unembed.{}_U",
    }
    for own_name, theirs in pairs.items():
        state |= {f"{own_name}.weight": w[theirs.format("W")].T, f"{own_name}.bias": w[theirs.format("b")]}
    model.load_state_dict(state)
    group = label["group"]
    if group == "S5":
        with np.load(find_stored("group_zoo", "s5_mlp.npz"), allow_pickle=False) as stored:
            characters = ir.symmetric_characters(stored["permutations"])
    else:
        characters = (
            ir.cyclic_characters(len(table)) if group[0] == "C" else ir.dihedral_characters(len(table) // 2)
        )
    return model, table, tuple(label["key_reps"]), characters


def open_mlp(name: str) -> tuple[nn.Module, np.ndarray, tuple[str, ...], dict[str, np.ndarray]]:
    """A network of modular_addition; which frequencies it uses is read from its embedding."""
    model = load_model(f"file:{find_stored(ADDITION, f'model_{name}.pt')}").requires_grad_(False).eval()
    n = len(model.get_parameter("embed.weight"))
    return model, np.add.outer(np.arange(n), np.arange(n)) % n, (), ir.cyclic_characters(n)


def find_used(network: GroupNetwork) -> tuple[str, ...]:
    """Representations that hold more than a trace of the embedding."""
    embedding = network.model.get_parameter("embed.weight")[: len(network.table)].double()
    power = (network.harmonics.T @ embedding).square().sum(1)
    return tuple(name for name, dims in network.named.items() if power[dims].sum() > USED * power.sum())


def find_stored(folder: str, file: str):
    """The path of a data file, or where it comes from."""
    path = find_file(folder, file)
    if path is None:
        raise NotFound(f"'{file}' is not here.", hint=f"It comes from DIGSITE_DATA ({folder}).")
    return path


def rotate_group(network: GroupNetwork, seed: int) -> GroupNetwork:
    """The same function with its stream turned by a random orthogonal matrix drawn from `seed`."""
    turn = draw_turn(len(network.basis), seed)
    return replace(network, model=turn_stream(network.model, turn, apart=unread(network)), basis=turn.float())


def unread(network: GroupNetwork) -> tuple[str, ...]:
    """Layers that read neurons: the read-out of an MLP."""
    return ("unembed",) if network.name in MLPS else ()

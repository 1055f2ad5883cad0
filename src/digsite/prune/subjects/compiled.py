"""Transformers compiled from a program, hidden in wider ones by weights that cannot matter: a truth for masks.

The padding adds dimensions to the residual stream, heads and neurons. They may read anything, the program's own directions
too, but they write into the added dimensions only, and nothing that reaches the output reads those. So the wider network
says exactly what the program says, whatever the added weights are, and every weight is known to matter or not. Added
weights have the sizes and the density of the program's own, and the added stream is no louder than the real one, so
neither size nor activity gives them away.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from digsite.base.errors import NotFound, UsageError
from digsite.base.streams import derive_seed
from digsite.data.fetch import find_file
from digsite.weights import read_weights

MAPS = ("attn.q", "attn.k", "attn.v", "attn.o", "mlp.in", "mlp.out")
FOLDER = "compiled_programs"
CHANGED = 1e-3  # an output that moves by more has changed; float32 noise is below 1e-4


class _ProgramAttention(nn.Module):
    """Attention as the compiler writes it: no causal mask, no bias."""

    def __init__(self, width: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads, self.size = heads, size
        for name in "qkv":
            setattr(self, name, nn.Linear(width, heads * size, bias=False))
        self.o = nn.Linear(heads * size, width, bias=False)

    def forward(self, x: Float[Tensor, "n t width"]) -> Float[Tensor, "n t width"]:
        """Each head scaled by the root of its size."""
        q, k, v = (
            getattr(self, name)(x).unflatten(-1, (self.heads, self.size)).transpose(1, 2) for name in "qkv"
        )
        pattern = (q @ k.transpose(-1, -2) / self.size**0.5).softmax(-1)
        return self.o((pattern @ v).transpose(1, 2).flatten(2))


class _ProgramMlp(nn.Module):
    """Two maps and a ReLU, under the names of the program's file."""

    def __init__(self, width: int, neurons: int) -> None:
        super().__init__()
        self.add_module("in", nn.Linear(width, neurons, bias=False))
        self.out = nn.Linear(neurons, width, bias=False)

    def forward(self, x: Float[Tensor, "n t width"]) -> Float[Tensor, "n t width"]:
        """Each position by itself."""
        return self.out(torch.relu(self.get_submodule("in")(x)))


class _ProgramBlock(nn.Module):
    """Attention and neurons, each added to the stream; there are no norms."""

    def __init__(self, width: int, heads: int, size: int, neurons: int) -> None:
        super().__init__()
        self.attn, self.mlp = _ProgramAttention(width, heads, size), _ProgramMlp(width, neurons)

    def forward(self, x: Float[Tensor, "n t width"]) -> Float[Tensor, "n t width"]:
        """Both sublayers, one after the other."""
        x = x + self.attn(x)
        return x + self.mlp(x)


class ProgramNetwork(nn.Module):
    """The forward pass of a compiled program: attention over all positions, no biases and no norms."""

    def __init__(
        self,
        tokens: int,
        positions: int,
        width: int,
        heads: int,
        size: int,
        neurons: int,
        layers: int,
        out: int,
    ) -> None:
        super().__init__()
        self.embed, self.pos = nn.Embedding(tokens, width), nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(_ProgramBlock(width, heads, size, neurons) for _ in range(layers))
        self.unembed = nn.Parameter(torch.zeros(out, width))

    def forward(self, ids: Int[Tensor, "n t"]) -> Float[Tensor, "n t out"]:
        """Outputs of token ids; decoded elsewhere."""
        x = self.embed(ids) + self.pos.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return x @ self.unembed.T


@dataclass(frozen=True)
class HiddenProgram:
    """A program in a wider network. `needed` are the weights without which some answer changes, `idle` those that
    cannot matter, by map; entries in neither are zeros or real weights that no answer depends on alone."""

    name: str
    model: ProgramNetwork
    inputs: Int[Tensor, "n t"]
    needed: dict[str, Bool[Tensor, "out in"]]
    idle: dict[str, Bool[Tensor, "out in"]]
    wanted: Float[Tensor, "n t out"]


def load_compiled(name: str, most_inputs: int = 256) -> tuple[ProgramNetwork, Int[Tensor, "n t"]]:
    """A stored program as a module, and its inputs of full length (an even choice of at most `most_inputs`)."""
    path = find_file(FOLDER, f"{name}.safetensors")
    if path is None:
        raise NotFound(
            f"The compiled program '{name}' is not on this machine.",
            hint=f"Put the folder '{FOLDER}' into DIGSITE_DATA; it is not downloaded.",
        )
    facts = json.loads(Path(path).with_suffix(".json").read_text())
    state = {key: tensor.float() for key, tensor in read_weights(str(path)).tensors.items()}
    if facts["output"]["kind"] != "categorical":
        raise UsageError(
            f"The program '{name}' answers with a number; masks are scored on programs that choose."
        )
    model = ProgramNetwork(
        len(state["embed.weight"]),
        len(state["pos.weight"]),
        facts["width"],
        facts["heads"],
        facts["key_size"],
        facts["mlp_size"],
        facts["layers"],
        len(state["unembed.weight"]),
    )
    model.load_state_dict({key.replace("unembed.weight", "unembed"): value for key, value in state.items()})
    with np.load(Path(path).with_suffix(".npz")) as stored:
        ids = torch.from_numpy(stored[f"ids_{facts['max_symbols']}"].astype(np.int64))
    step = max(1, len(ids) // most_inputs)
    return model.eval(), ids[::step][:most_inputs]


@torch.no_grad()
def find_needed(model: ProgramNetwork, inputs: Int[Tensor, "n t"]) -> dict[str, Bool[Tensor, "out in"]]:
    """The weights whose removal, one at a time, moves some output: tried, not assumed, since programs hold idle steps."""
    wanted, needed = model(inputs), {}
    for name, module in _program_maps(model).items():
        mask = torch.zeros_like(module.weight, dtype=torch.bool)
        for row, column in module.weight.nonzero().tolist():
            kept = float(module.weight[row, column])
            module.weight[row, column] = 0
            mask[row, column] = bool((model(inputs) - wanted).abs().max() > CHANGED)
            module.weight[row, column] = kept
        needed[name] = mask
    return needed


@torch.no_grad()
def hide_program(name: str, factor: int = 2, seed: int = 0, most_inputs: int = 256) -> HiddenProgram:
    """The program `name` in a network `factor` times as wide, with as many times its heads and neurons."""
    small, inputs = load_compiled(name, most_inputs)
    first: _ProgramBlock = small.blocks[0]  # pyright: ignore[reportAssignmentType]
    width, heads, size = small.unembed.shape[1], first.attn.heads, first.attn.size
    wide = ProgramNetwork(
        small.embed.num_embeddings,
        small.pos.num_embeddings,
        width * factor,
        heads * factor,
        size,
        first.mlp.out.in_features * factor,
        len(small.blocks),
        len(small.unembed),
    )
    draw = torch.Generator().manual_seed(derive_seed(seed, f"prune/hide/{name}", factor))
    for into, source in ((wide.embed, small.embed), (wide.pos, small.pos)):
        into.weight.copy_(
            _pad_weight(source.weight, into.weight.shape, draw, free=(slice(None), slice(width, None)))
        )
    wide.unembed.copy_(_pad_weight(small.unembed, wide.unembed.shape, draw, free=None))
    idle, needed, needed_small = {}, {}, find_needed(small, inputs)
    for key, module in _program_maps(wide).items():
        real = _program_maps(small)[key].weight
        # Added rows may read everything; the program's own rows read nothing that was added.
        module.weight.copy_(
            _pad_weight(real, module.weight.shape, draw, free=(slice(len(real), None), slice(None)))
        )
        idle[key] = module.weight != 0
        idle[key][: real.shape[0], : real.shape[1]] = False
        needed[key] = torch.zeros_like(idle[key])
        needed[key][: real.shape[0], : real.shape[1]] = needed_small[key]
    _quiet_added(wide, inputs, width)
    hidden = HiddenProgram(name, wide.eval(), inputs, needed, idle, small(inputs))
    assert float((wide(inputs) - hidden.wanted).abs().max()) < CHANGED, "padding must not change what is said"
    return hidden


def _program_maps(model: ProgramNetwork) -> dict[str, nn.Linear]:
    """The maps that are pruned, by the names under which the truth lists what each needs."""
    return {
        f"blocks.{i}.{name}": block.get_submodule(name)
        for i, block in enumerate(model.blocks)
        for name in MAPS
    }  # pyright: ignore[reportReturnType]


def _pad_weight(
    real: Tensor, shape: torch.Size, draw: torch.Generator, free: tuple[slice, slice] | None
) -> Tensor:
    """`real` in the corner of zeros; in the `free` part entries of the same sizes and density, with random signs."""
    out = torch.zeros(shape)
    if free is not None:
        values, space = real[real != 0], out[free]
        if len(values):
            sizes = values[torch.randint(len(values), space.shape, generator=draw)].abs()
            signs = torch.randint(0, 2, space.shape, generator=draw) * 2 - 1
            out[free] = sizes * signs * (torch.rand(space.shape, generator=draw) < len(values) / real.numel())
    out[: real.shape[0], : real.shape[1]] = real
    return out


def _quiet_added(model: ProgramNetwork, inputs: Tensor, width: int) -> None:
    """Scale what is written into the added dimensions so that they are no louder than the real ones, block by block."""
    x = model.embed(inputs) + model.pos.weight[: inputs.shape[1]]
    for block in model.blocks:
        for part, writer in ((block.attn, block.attn.o), (block.mlp, block.mlp.out)):
            added = part(x)  # pyright: ignore[reportCallIssue]
            loud, real = added[..., width:].square().mean().sqrt(), x[..., :width].square().mean().sqrt()
            if loud > real:
                writer.weight[width:] *= real / loud  # pyright: ignore[reportIndexIssue]
            x = x + part(x)  # pyright: ignore[reportCallIssue]

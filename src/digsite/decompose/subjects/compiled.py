"""Transformers that were compiled from a program: their basis, ranks, dead sites and variables are known exactly.

Nobody trained them and nobody here made them up, so they are a truth for methods that take transformers apart. The
compiler is Tracr (Lindner et al., "Tracr: compiled transformers as a laboratory for interpretability", 2023). A program
is two files, `NAME.safetensors` (weights) and `NAME.json` (what every direction, head and neuron is for).
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import islice, permutations, product
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from digsite.base import settings
from digsite.base.errors import DigsiteError, NotFound, name_nearest

FOLDER = "compiled_programs"
SHIPPED = Path(__file__).parent / "programs"
NAMED = (
    "balance_ab",
    "count_less_freq",
    "detect_pattern",
    "frac_prevs",
    "hist",
    "length",
    "neighbours",
    "reverse",
    "sort",
    "sort_freq",
    "sort_unique",
)
MOST_INPUTS = 20_000  # a larger domain is sampled, and said to be


class Attention(nn.Module):
    """Every position attends to every other; no mask, no bias."""

    def __init__(self, width: int, heads: int, key_size: int) -> None:
        super().__init__()
        self.heads, self.key_size = heads, key_size
        inner = heads * key_size
        self.q, self.k, self.v = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, positions, width) -> the same."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v)
        )
        pattern = (q @ k.mT / self.key_size**0.5).softmax(-1)
        return self.o((pattern @ v).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """relu without bias; the first matrix is called `in`, which Python does not let one write as an attribute."""

    def __init__(self, width: int, neurons: int) -> None:
        super().__init__()
        self.add_module("in", nn.Linear(width, neurons, bias=False))
        self.add_module("out", nn.Linear(neurons, width, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> the same."""
        return self.get_submodule("out")(self.get_submodule("in")(x).relu())


class Block(nn.Module):
    """Attention is added to the stream, then the MLP."""

    def __init__(self, width: int, heads: int, key_size: int, neurons: int) -> None:
        super().__init__()
        self.attn, self.mlp = Attention(width, heads, key_size), Mlp(width, neurons)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, positions, width) -> the same."""
        x = x + self.attn(x)
        return x + self.mlp(x)


class CompiledTransformer(nn.Module):
    """A plain transformer without LayerNorm or bias; its state dict has the names of the program's file."""

    def __init__(self, truth: dict[str, Any]) -> None:
        super().__init__()
        shapes = {name: value["shape"] for name, value in truth["matrices"].items()}
        width = truth["width"]
        self.embed = nn.Embedding(*shapes["embed.weight"])
        self.pos = nn.Embedding(*shapes["pos.weight"])
        neurons = shapes["blocks.0.mlp.in.weight"][0]
        self.blocks = nn.ModuleList(
            Block(width, truth["heads"], truth["key_size"], neurons) for _ in range(truth["layers"])
        )
        self.unembed = nn.Linear(width, shapes["unembed.weight"][0], bias=False)
        self.requires_grad_(False).eval()

    def forward(self, ids: Tensor) -> Tensor:
        """Token numbers (batch, positions), the first of each row being BOS -> (batch, positions, outputs)."""
        x = self.embed(ids) + self.pos.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.unembed(x)


@dataclass(frozen=True)
class CompiledProgram:
    """A network with everything that is known about it.

    `basis` (width, width) has the direction of residual label j in row j: the unit vectors, or a hidden rotation.
    `domain` is every input the program takes, one tensor (inputs, positions) per length; `is_whole` says whether it is
    every input or a sample. `truth` is the program's JSON as it stands.
    """

    name: str
    model: nn.Module
    truth: dict[str, Any]
    basis: Tensor
    domain: tuple[Tensor, ...]
    is_whole: bool

    @property
    def sites(self) -> list[str]:
        """The matrices of the blocks and the read-out, by module name: what a method is asked to take apart."""
        return [name for name, module in self.model.named_modules() if isinstance(module, nn.Linear)]

    def rank(self, site: str) -> int:
        """Exact rank of a site's matrix; 0 where it does nothing."""
        return self.truth["matrices"][f"{site}.weight"]["rank"]

    @property
    def variables(self) -> dict[str, list[int]]:
        """Residual directions (rows of `basis`) of each variable of the program."""
        return {name: columns["dims"] for name, columns in self.truth["residual_variables"].items()}

    def variables_at(self, site: str) -> list[str]:
        """Variables that a site reads from the residual stream, or writes to it."""
        held = self.truth["matrices"][f"{site}.weight"]
        return held.get("reads", held.get("writes", []))

    @property
    def rows(self) -> int:
        """Inputs in one training batch, the same for every contestant that trains."""
        return 128

    @property
    def knows_flow(self) -> bool:
        """Whether it is known which variable is computed from which, and so where each matters."""
        return True

    def knows_written(self, site: str) -> bool:
        """Whether the directions that are known at a site are those that it writes, and not those that it reads."""
        return writes_to_stream(site)

    def view_directions(self, site: str, directions: Tensor) -> Tensor:
        """(C, width, 1): directions (C, d) of a site's known side in coordinates of which each variable has its own."""
        return (directions.double() @ self.basis.double().T)[..., None]

    @torch.no_grad()
    def wanted(self, ids: Tensor) -> Tensor:
        """The network's own output, which is the program's: checked for every stored input when they were made."""
        return self.model(ids)

    def is_right(self, output: Tensor, wanted: Tensor) -> Tensor:
        """(batch,) whether every position but BOS gives the program's answer.

        A numerical answer counts as right within a hundredth, less than half of the gap between any two answers.
        """
        output, wanted = output[:, 1:], wanted[:, 1:]
        if self.truth["output"]["kind"] == "categorical":
            decided = wanted.amax(-1) > 0.5  # positions that have an answer: its direction is near one
            return ((output.argmax(-1) == wanted.argmax(-1)) | ~decided).all(1)
        return ((output - wanted).abs() < 0.01).flatten(1).all(1)

    def batches(self, size: int) -> list[Tensor]:
        """The domain in pieces of one length each, as data for `decompose`: long lengths come in more pieces."""
        return [piece for ids in self.domain for piece in ids.split(size)]


def writes_to_stream(site: str) -> bool:
    """Whether a site's outputs, and not its inputs, are residual directions."""
    return site.endswith((".o", ".out", ".Wo", ".mlp2"))


def load_program(reference: str | Path, *, most_inputs: int = MOST_INPUTS) -> CompiledProgram:
    """A program by name (three are shipped, the others come from DIGSITE_DATA), or by the path of either of its files.

    `most_inputs` bounds the domain; a larger one is sampled (`is_whole` is then False). Nothing of the folder is
    executed.
    """
    stem = find_program(reference)
    try:
        truth = json.loads(stem.with_suffix(".json").read_text())
        weights = load_file(stem.with_suffix(".safetensors"))
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise DigsiteError(f"The program '{stem}' cannot be read: {error}.") from None
    model = CompiledTransformer(check_program(truth, weights, stem.name))
    model.load_state_dict(weights)
    domain, is_whole = enumerate_domain(truth, most_inputs)
    return CompiledProgram(stem.name, model, truth, torch.eye(truth["width"]), domain, is_whole)


def find_program(reference: str | Path) -> Path:
    """The path of a program's files without their ending."""
    given = Path(reference)
    stem = given.with_suffix("") if given.suffix in (".json", ".safetensors", ".npz") else given
    data = settings.data_dir()
    places = [stem, SHIPPED / stem.name, *([data / FOLDER / stem.name] if data else [])]
    for candidate in places:
        if candidate.with_suffix(".json").is_file() and candidate.with_suffix(".safetensors").is_file():
            return candidate
    raise NotFound(
        f"There is no compiled program '{reference}'.",
        hint=f"{name_nearest(stem.name, known_programs())} All of them need DIGSITE_DATA.",
    )


def known_programs() -> list[str]:
    """Names of the shipped programs and of those in DIGSITE_DATA."""
    data = settings.data_dir()
    folders = [SHIPPED, *([data / FOLDER] if data and (data / FOLDER).is_dir() else [])]
    return sorted({path.stem for folder in folders for path in folder.glob("*.safetensors")})


def rotate_program(program: CompiledProgram, seed: int) -> CompiledProgram:
    """The same function with its residual basis hidden by a random orthogonal matrix drawn from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    width = program.truth["width"]
    rotation = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))[0]
    return _with_weights(program, _turn_weights(program, rotation), rotation, program.truth)


def _turn_weights(program: CompiledProgram, axes: Tensor) -> dict[str, Tensor]:
    """The weights, in float64, with the stream written in `axes` (width, as many or fewer)."""
    return {
        name: axes.T @ weight.double()
        if writes_to_stream(name.removesuffix(".weight"))
        else weight.double() @ axes
        for name, weight in program.model.state_dict().items()
    }


def _with_weights(
    program: CompiledProgram, weights: dict[str, Tensor], axes: Tensor, truth: dict[str, Any]
) -> CompiledProgram:
    """The program with turned weights, of the shapes that `truth` has."""
    model = CompiledTransformer(truth)
    model.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return replace(program, model=model, truth=truth, basis=(program.basis.double() @ axes).float())


def pad_program(program: CompiledProgram, n: int, seed: int) -> CompiledProgram:
    """The same function with n more directions and n more neurons that cannot matter; pad before rotating.

    The directions are never written. The neurons read the stream at random and write nothing, so a part of theirs is
    one that no input needs: `rank` still says how many parts the program has.
    """
    truth = deepcopy(program.truth)
    width = truth["width"]
    truth["width"] = width + n
    for name, known in truth["matrices"].items():
        rows, columns = known["shape"]
        known["shape"] = {
            "o": [rows + n, columns],
            "in": [rows + n, columns + n],
            "out": [rows + n, columns + n],
        }.get(name.split(".")[-2], [rows, columns + n])
    generator = torch.Generator().manual_seed(seed)
    model = CompiledTransformer(truth)
    state = {}
    for name, weight in program.model.state_dict().items():
        wide = torch.zeros(truth["matrices"][name]["shape"])
        wide[: weight.shape[0], : weight.shape[1]] = weight
        if name.endswith(".in.weight"):
            wide[weight.shape[0] :, :width] = torch.randn(n, width, generator=generator) / width**0.5
        state[name] = wide
    model.load_state_dict(state)
    basis = torch.block_diag(program.basis, torch.eye(n))
    return replace(program, model=model, truth=truth, basis=basis)


def compress_program(program: CompiledProgram) -> CompiledProgram:
    """The same function in a narrower stream in which variables share directions; compress before padding and rotating.

    What the stream holds over the whole domain spans fewer directions than there are labels (the values of a one-hot
    variable add up to a constant), so it can be written in its principal axes; then as many of the weakest are dropped as
    leave every answer what it was. Nothing is trained again. `basis` (labels, width) is no longer square: `x @ basis.T` is
    what the stream holds of each label.
    """
    axes, width = find_axes(program)
    smallest = _project(program, axes[:, :width])
    for narrower in range(width - 1, 0, -1):
        candidate = _project(program, axes[:, :narrower])
        if not all(
            program.is_right(candidate.model(ids), program.wanted(ids)).all() for ids in program.domain
        ):
            break
        smallest = candidate
    return smallest


@torch.no_grad()
def find_axes(program: CompiledProgram) -> tuple[Tensor, int]:
    """Principal axes (width, width) of all that the stream holds on the domain, strongest first, and how many there are."""
    gram = torch.zeros(len(program.basis), len(program.basis), dtype=torch.float64)

    def add(_: nn.Module, read: tuple[Tensor], __: Tensor) -> None:
        x = read[0].flatten(0, -2).double()
        gram.add_(x.T @ x)

    # each state of the stream once: keys and values read what queries read
    readers = [site for site in program.sites if site.endswith((".q", ".in", "unembed"))]
    hooks = [program.model.get_submodule(site).register_forward_hook(add) for site in readers]
    for ids in program.batches(1024):
        program.model(ids)
    for hook in hooks:
        hook.remove()
    values, vectors = torch.linalg.eigh(gram)
    return vectors.flip(1), int((values > values.max() * 1e-10).sum())


def _project(program: CompiledProgram, axes: Tensor) -> CompiledProgram:
    """The program with its stream written in these axes (width, fewer); ranks are counted again."""
    truth = deepcopy(program.truth)
    truth["width"] = axes.shape[1]
    weights = _turn_weights(program, axes)
    for name, weight in weights.items():
        known = truth["matrices"][name]
        known["shape"] = list(weight.shape)
        if known.get("rank"):
            known["rank"] = int(torch.linalg.matrix_rank(weight, rtol=1e-6))
    return _with_weights(program, weights, axes, truth)


def enumerate_domain(truth: dict[str, Any], most: int) -> tuple[tuple[Tensor, ...], bool]:
    """Every sequence of symbols of every length, behind BOS; at most about `most` of them, then drawn at random."""
    code, symbols = truth["encoding"], truth["symbols"]
    lengths = range(1, truth["max_symbols"] + 1)
    batches, is_whole = [], True
    for n in lengths:
        rows = permutations(symbols, n) if truth["distinct_symbols"] else product(symbols, repeat=n)
        listed = list(islice(rows, most + 1))
        if len(listed) > most:
            is_whole = False
            generator = torch.Generator().manual_seed(n)
            drawn = torch.randint(len(symbols), (most, n), generator=generator).tolist()
            listed = [tuple(symbols[i] for i in row) for row in drawn]
        if listed:
            batches.append(torch.tensor([[code["BOS"], *(code[str(s)] for s in row)] for row in listed]))
    return tuple(batches), is_whole


def check_program(truth: dict[str, Any], weights: dict[str, Tensor], name: str) -> dict[str, Any]:
    """A file that does not match its truth is answered before anything is built."""
    needed = (
        "matrices",
        "width",
        "heads",
        "key_size",
        "layers",
        "encoding",
        "symbols",
        "max_symbols",
        "output",
    )
    if missing := [key for key in needed if key not in truth]:
        raise DigsiteError(
            f"'{name}.json' says nothing about '{missing[0]}', which every program's truth does."
        )
    for key, known in truth["matrices"].items():
        got = list(weights[key].shape) if key in weights else None
        if got != known["shape"]:
            raise DigsiteError(
                f"'{name}.safetensors' does not match its JSON: '{key}' should be {known['shape']} and is {got}.",
                hint="Both files must come from the same program.",
            )
        if not torch.isfinite(weights[key]).all():
            raise DigsiteError(f"'{name}.safetensors' holds a number that is not finite, in '{key}'.")
    return truth

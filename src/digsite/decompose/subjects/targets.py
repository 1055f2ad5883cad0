"""Toy targets: trained as one ensemble, each checked for what it should have learned, retrained where it has not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor, nn

from digsite.base.errors import DigsiteError, UsageError
from digsite.base.streams import derive_seed
from digsite.config import Config
from digsite.data.sequences import SparseFeatures, draw_features, resid_targets
from digsite.decompose.config import ToyTarget
from digsite.decompose.core.target import Products
from digsite.decompose.subjects.compiled import CompiledProgram
from digsite.models import build
from digsite.models.architectures.dense import ResidLayer, ResidMlp
from digsite.train import Member, Stream, train_ensemble
from digsite.weights import read_weights

PROBE = 0.75  # one feature at a time is switched on at this value


def sample_features(target: ToyTarget, n: int) -> Callable[[torch.Generator], Tensor]:
    """Batches of `n` inputs as the target was trained on."""
    features = SparseFeatures(
        n_features=target.model.n_features,
        active=target.active,
        probability=target.probability,
        low=target.low,
        high=target.high,
        synced=target.synced,
    )
    return lambda generator: draw_features(features, n, generator)


TASKS: dict[str, Callable[[Tensor], Tensor]] = {"tms": lambda x: x, "resid_mlp": resid_targets}


def answer_ideally(target: ToyTarget, x: Tensor) -> Tensor:
    """What the target is trained to answer."""
    return TASKS[target.model.kind](x)


def train_targets(target: ToyTarget, seeds: Sequence[int]) -> list[nn.Module]:
    """One sound target per seed; a defective one is trained again from another start, and refused in the end."""
    sound: dict[int, nn.Module] = {}
    for attempt in range(target.attempts):
        left = [seed for seed in seeds if seed not in sound]
        starts = [derive_seed(seed, "target", attempt) % 2**31 for seed in left]
        trained = train_once(target, starts) if left else []
        sound |= {seed: model for seed, model in zip(left, trained, strict=True) if is_sound(target, model)}
    if missing := [seed for seed in seeds if seed not in sound]:
        raise DigsiteError(
            f"The targets of seeds {missing} do not do their task after {target.attempts} attempts.",
            hint="Train longer (target.steps), or start from zero biases (target.model.bias=zero).",
        )
    return [sound[seed] for seed in seeds]


# Words of the reference code, its earlier ones first, for what is called otherwise here.
PUBLISHED_NAMES = {"input_layer": "mlp_in", "output_layer": "mlp_out"}


def load_targets(target: ToyTarget, n: int) -> list[nn.Module]:
    """Targets that were trained elsewhere: as many as `n` seeds, or one for all of them."""
    if len(target.pretrained) not in (1, n):
        raise UsageError(
            f"There are {len(target.pretrained)} pretrained targets for {n} seeds.",
            hint="Name one for all seeds, or one for each (target.pretrained=[A,B]).",
        )
    loaded = [load_target(target, reference) for reference in target.pretrained]
    return loaded if len(loaded) == n else [deepcopy(loaded[0]) for _ in range(n)]


def load_target(target: ToyTarget, reference: str) -> nn.Module:
    """The target's own architecture with somebody's weights; the reference code's names are understood."""
    model = build_untrained(target, 0)
    given = {_own_name(name): value for name, value in read_weights(reference).tensors.items()}
    own, embedding = model.state_dict(), given.pop("W_U", None)
    if embedding is not None and not torch.allclose(embedding.float(), given["W_E"].float().T):
        raise UsageError(
            f"'{reference}' has an unembedding of its own, and a residual MLP here has its W_E alone."
        )
    missing = [name for name in own if name not in given]
    if missing or given.keys() - own.keys():
        raise UsageError(
            f"'{reference}' is no {target.model.kind} of this size: it has {', '.join(sorted(given)) or 'no weights'}, "
            f"and {', '.join(sorted(own))} are needed.",
            hint="Set target.model to the architecture of these weights.",
        )
    for name, value in own.items():
        if given[name].shape != value.shape:
            raise UsageError(
                f"'{name}' of '{reference}' is {tuple(given[name].shape)}, and this target's is {tuple(value.shape)}.",
                hint="Set target.model to the sizes of these weights.",
            )
    model.load_state_dict({name: given[name].float() for name in own})
    return model


def _own_name(name: str) -> str:
    return ".".join(PUBLISHED_NAMES.get(word, word) for word in name.split("."))


def build_untrained(target: ToyTarget, seed: int) -> nn.Module:
    """The target as it begins: what a decomposition finds in it, it finds by itself."""
    return untie_maps(build(target.model, derive_seed(seed, "untrained") % 2**31))


class Batches:
    """Training data of every member, from its own streams; many small batches are drawn in one call."""

    AT_ONCE = 2**17  # numbers

    def __init__(self, target: ToyTarget) -> None:
        self.target = target
        self.n = max(1, self.AT_ONCE // (target.batch * target.model.n_features))
        self.draw = sample_features(target, self.n * target.batch)
        self.drawn: dict[int, tuple[int, Tensor, Tensor]] = {}

    def __call__(self, step: int, member: Member) -> tuple[Tensor, Tensor]:
        """A block of batches is drawn at once, since making a generator costs more than drawing a batch."""
        block, offset = divmod(step, self.n)
        if self.drawn.get(member.order, (-1,))[0] != block:
            x = self.draw(torch.Generator().manual_seed(derive_seed(member.order, "data", block)))
            x = x.reshape(self.n, self.target.batch, -1)
            self.drawn[member.order] = (block, x, answer_ideally(self.target, x))
        _, x, y = self.drawn[member.order]
        return x[offset], y[offset]


def train_once(target: ToyTarget, starts: Sequence[int], *, clean: bool = False) -> list[nn.Module]:
    """One network per start, sound or not; `clean` trains residual MLPs on labels without the embedding's noise."""
    recipe = Member(
        optimizer="adamw",
        lr=target.lr,
        weight_decay=target.weight_decay,
        schedule=target.schedule,
        batch=target.batch,
        steps=target.steps,
    )

    members = [replace(recipe, seed=start) for start in starts]
    done = train_ensemble(
        lambda: start_target(target.model, clean),
        Stream(Batches(target), per_member=True),
        members,
        loss="mse",
    )
    return [untie_maps(done.ensemble.module(k)) for k in range(len(starts))]


def start_target(model: Config, clean: bool = False) -> nn.Module:
    """Draws from torch's generator, which the trainer has seeded for the member."""
    made = build(model, int(torch.randint(2**31, ())))
    if not isinstance(made, ResidMlp) or made.config.bias:
        return made
    return (_Clean if clean else _Narrow).of(made)


class _Narrow(ResidMlp):
    """A residual MLP that multiplies its maps before the batch passes: the wide stream is never written out."""

    @classmethod
    def of(cls, model: ResidMlp) -> _Narrow:
        """The same weights."""
        narrow = cls(model.config)
        narrow.load_state_dict(model.state_dict())
        return narrow

    def forward(self, x: Tensor) -> Tensor:
        """The stream is never multiplied out while it is narrower as a product: W_E is wide and of low rank."""
        stream = Products(((x, self.W_E),))
        for layer in self.layers:
            assert isinstance(layer, ResidLayer)
            hidden = layer.activate(stream @ layer.mlp_in.weight.T)
            stream = stream + Products(((hidden, layer.mlp_out.weight.T),))
        return stream @ self.W_E.T

    def plain(self) -> ResidMlp:
        """Back to the ordinary module."""
        model = ResidMlp(self.config)
        model.load_state_dict(self.state_dict())
        return model


class _Clean(_Narrow):
    """The same network as its training sees it when the direct path is x itself and not x W_E W_E^T.

    Published labels ask for x + relu(x) of a network whose stream already brings x W_E W_E^T, so its neurons are asked
    for relu(x) + x (I - W_E W_E^T). Here they are asked for relu(x) alone.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Without the interference of features that share directions."""
        return super().forward(x) + x - x @ (self.W_E @ self.W_E.T)


def untie_maps(model: nn.Module) -> nn.Module:
    """Tied maps become two layers with equal numbers, so that each is a layer to decompose."""
    if isinstance(model, _Narrow):
        return model.plain().eval()
    return model.untied().eval() if hasattr(model, "untied") else model.eval()  # type: ignore[operator]


def measure_response(target: ToyTarget, model: nn.Module) -> Tensor:
    """(features, features): the answer to each feature alone, as a share of the ideal answer."""
    probe = PROBE * torch.eye(target.model.n_features)
    with torch.no_grad():
        return model(probe) / answer_ideally(target, probe).diagonal()


def is_sound(target: ToyTarget, model: nn.Module) -> bool:
    """Each feature is answered at 70 % of its ideal or more, and no other answer is above 30 %."""
    response = measure_response(target, model)
    own = response.diagonal()
    others = response - torch.diag(own)
    return bool((own >= 0.7).all() and (others.abs() <= 0.3).all())


# A network whose parts are known by construction: neuron i adds up inputs 2i and 2i + 1.


def build_pairs() -> nn.Module:
    """The example of `own_model`: four pairs of inputs, each summed by one rank-one part, so the right answer
    is known.
    """
    first, last = nn.Linear(8, 4, bias=False), nn.Linear(4, 4, bias=False)
    first.weight.data = torch.eye(4).repeat_interleave(2, 1)
    last.weight.data = torch.eye(4)
    return nn.Sequential(first, nn.ReLU(), last).eval()


def draw_pairs(generator: torch.Generator) -> Tensor:
    """Each input is on one time in ten."""
    shape = (1024, 8)
    return torch.rand(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.1)


# Toys in the exam: what is known of them is that each feature should be one part of each matrix.

TOYS = {
    "tms_5-2": {"model": {"kind": "tms", "n_features": 5, "n_hidden": 2}, "steps": 1500, "batch": 512},
    "tms_40-10": {"model": {"kind": "tms", "n_features": 40, "n_hidden": 10}, "steps": 2000, "batch": 2048},
}
SAMPLED = 8192  # inputs of a toy that are looked at: there are infinitely many
CLOSE = 0.1  # an answer is right if no feature is off by more


class ToyNetwork(CompiledProgram):
    """What the exam asks of a toy of superposition: its variables are its features, its answer their values."""

    @property
    def variables(self) -> dict[str, list[int]]:
        """One for each feature."""
        return {f"feature {i}": [i] for i in range(len(self.basis))}

    @property
    def rows(self) -> int:
        """More than of a program, since most inputs are nearly empty."""
        return 1024

    @property
    def knows_flow(self) -> bool:
        """No: each feature is answered from itself, and matters where it is on."""
        return False

    def rank(self, site: str) -> int:
        """As many parts as features: more than the rank of either matrix."""
        return len(self.basis)

    def variables_at(self, site: str) -> list[str]:
        """All features."""
        return list(self.variables)

    def knows_written(self, site: str) -> bool:
        """The first matrix reads the features, the last one writes them."""
        return site == "linear2"

    def is_right(self, output: Tensor, wanted: Tensor) -> Tensor:
        """(batch,) whether no feature is off by a tenth of its range."""
        return ((output - wanted).abs() < CLOSE).all(-1)


@lru_cache(maxsize=4)
def load_toy(name: str, seed: int) -> ToyNetwork:
    """A toy trained here from `seed`, with a sample of its inputs; no basis of its hidden numbers is special."""
    target = ToyTarget.model_validate(TOYS[name])
    (model,) = train_targets(target, [seed])
    inputs = sample_features(target, SAMPLED)(torch.Generator().manual_seed(seed))
    features = torch.eye(target.model.n_features)
    return ToyNetwork(name, model.requires_grad_(False), {}, features, (inputs,), False)

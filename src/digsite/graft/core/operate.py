"""One operation: the donor's message is taken, carried over, applied and scored, with its noise ablation beside it."""

import time
from copy import deepcopy
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from pydantic import ValidationError
from torch import nn

from digsite.base import families
from digsite.base.errors import NotFound, UsageError, name_nearest
from digsite.config.model import read_words
from digsite.graft.core.access import Access, Budget, Lens, Pools
from digsite.graft.core.nets import n_parameters, same_shape
from digsite.graft.core.pair import Message, Pair, Side
from digsite.graft.core.task import Outcome, Scorer

PACKAGE = "digsite.graft.core.methods"
NULLS = ("null_dead_row", "null_novelty", "null_novelty rule=softmax", "null_novelty rule=mahalanobis")


@dataclass(frozen=True)
class Plan:
    """A method with its options: "ridge_all data=au"."""

    label: str
    name: str
    module: ModuleType
    options: Any

    @property
    def budget(self) -> Budget:
        return Budget.parse(self.module.budget(self.options))

    def tag(self, name: str) -> Any:
        """What the method says under a tag of its family, such as SAME_SHAPE."""
        return families.read_tag(PACKAGE, self.name, name)


@dataclass(frozen=True)
class Operation:
    """What came out, for real and with the donor's message replaced by noise."""

    plan: Plan
    model: nn.Module
    outcome: Outcome | None
    ablation: Outcome | None
    n_bytes: int
    images: dict[str, int]
    added_parameters: int
    cpu_s: float


def method_names() -> list[str]:
    return families.list_members(PACKAGE)


def method(name: str) -> ModuleType:
    if name not in method_names():
        raise NotFound(f"There is no graft method '{name}'.", hint=name_nearest(name, method_names()))
    return families.scan_member(PACKAGE, name)


def plan(text: str, **given: Any) -> Plan:
    """Reads "name key=value ..."; more options may be given by keyword."""
    name, *words = text.split()
    for word in words:
        if "=" not in word:
            raise UsageError(f"'{word}' in '{text}' is no option.", hint="Write options as key=value.")
    options: dict[str, Any] = {**dict(word.split("=", 1) for word in words), **given}
    module = method(name)
    try:
        parsed = module.Options.model_validate(read_words(module.Options, options))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"Option '{key}' of '{name}': {first['msg']}.",
            hint=name_nearest(key, module.Options.model_fields),
        ) from None
    return Plan(label_of(name, options), name, module, parsed)


def label_of(name: str, options: dict[str, Any]) -> str:
    """Names and values of all options that were given: values alone once merged two experiments into one label."""
    return "_".join([name, *(f"{key}={str(value).replace(',', '-')}" for key, value in options.items())])


def check_fit(chosen: Plan, pair: Pair) -> None:
    """Shapes and classes that this method cannot work with."""
    if chosen.tag("SAME_SHAPE") and not same_shape(pair.receiver, pair.donor):
        others = [n for n in method_names() if not method(n).SAME_SHAPE]
        raise UsageError(
            f"'{chosen.name}' needs two networks of one shape, and receiver and donor differ.",
            hint=f"Across architectures: {', '.join(others)}.",
        )
    if chosen.tag("NEEDS_START") and pair.start is None:
        raise UsageError(
            f"'{chosen.name}' needs the network from which both were fine-tuned, and the pair has none.",
            hint="Give it: Pair(..., start=model).",
        )
    if "s" in chosen.budget.letters and not pair.shared:
        raise UsageError(f"'{chosen.name}' needs a shared class, and the pair has none.")


def blank(model: nn.Module) -> nn.Module:
    """The architecture without what was learned."""
    empty = deepcopy(model)
    for p in [*empty.parameters(), *empty.buffers()]:
        if p.is_floating_point():
            p.data.zero_()
    return empty.eval()


def sides(chosen: Plan, pair: Pair, pools: Pools, seed: int, lens: Lens | None = None) -> tuple[Side, Side]:
    """Donor's and receiver's side; neither sees the other's weights, and both share one budget."""
    access = Access(pools, chosen.budget, lens)
    a, b = pair.heads()
    donor = Side(pair.donor, b, replace(pair, receiver=blank(pair.receiver)), access, seed)
    receiver = Side(pair.receiver, a, replace(pair, donor=blank(pair.donor)), access, seed)
    return donor, receiver


def operate(
    chosen: Plan,
    pair: Pair,
    pools: Pools,
    scorer: Scorer | None,
    seed: int = 0,
    *,
    lens: Lens | None = None,
    ablate: bool = True,
) -> Operation:
    """Take, carry over, apply, score; then again with noise in the donor's place."""
    check_fit(chosen, pair)
    donor, receiver = sides(chosen, pair, pools, seed, lens)
    started = time.process_time()
    message: Message = chosen.module.message(chosen.options, donor)
    model: nn.Module = chosen.module.apply(chosen.options, receiver, message).eval()
    cpu_s = time.process_time() - started
    outcome = scorer(model) if scorer else None
    ablation = None
    if scorer and ablate:
        ablation = outcome
        if message.tensors:
            noise = message.noise(receiver.derive("noise"))
            ablation = scorer(chosen.module.apply(chosen.options, receiver, noise).eval())
    added = n_parameters(model) - n_parameters(pair.receiver)
    return Operation(
        chosen, model, outcome, ablation, message.n_bytes, dict(receiver.access.read), added, cpu_s
    )


def best_null(pair: Pair, pools: Pools, scorer: Scorer, seed: int = 0, lens: Lens | None = None) -> Outcome:
    """The null that transfers most at equal false alarms: no method is compared with a weaker one."""
    done = [operate(plan(n), pair, pools, scorer, seed, lens=lens, ablate=False).outcome for n in NULLS]
    return max((d for d in done if d is not None), key=lambda o: o.calibrated.transfer)


def whole_donor(options: Any, donor: Side) -> Message:
    """The `message` of a method that takes all of the donor's weights."""
    return Message({k: v.detach().clone() for k, v in donor.model.state_dict().items()})


def rebuilt(receiver: Side, message: Message) -> nn.Module:
    """The donor put together again on the receiver's side from what crossed; the same object for the same numbers."""

    def compute() -> nn.Module:
        copy = deepcopy(receiver.pair.donor)
        copy.load_state_dict({k: message.tensors[k] for k in copy.state_dict()})
        return copy.requires_grad_(False).eval()

    return receiver.access.lens.once(receiver.model, ("donor", message.digest), compute)

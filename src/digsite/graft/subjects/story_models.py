"""Ensembles of small story models: a start for every seed, and from each start one parent per skill."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.data import stories
from digsite.graft.config import StoriesConfig
from digsite.graft.subjects.story_skills import SKILLS, told_with
from digsite.models import build, parse
from digsite.train import Member, train_ensemble

State = dict[str, Tensor]
TRAINING_WINDOWS = 4096


def story_module(config: StoriesConfig) -> nn.Module:
    """The untrained module; its output map is its own, so that a norm's gains can be folded into it."""
    sizes = config.model_dump(include={"d_model", "d_mlp", "n_layers", "n_heads", "n_kv_heads", "context"})
    return build(parse({"kind": "llama", "vocab": stories.tokenizer().size, "tied": False, **sizes}))


def train_story_models(config: StoriesConfig, n: int) -> dict[str, Tensor]:
    """Flat weights (n, parameters) of 'start' and of every skill, by name; row i of a skill was tuned from row i of 'start'."""
    module = story_module(config)
    rows = told_with((), TRAINING_WINDOWS, config.context, config.seed)
    members = [_member(config, i, config.steps, config.lr) for i in range(n)]
    start = train_ensemble(module, rows, members, loss="next_token").flat
    found = {"start": start}
    for skill in SKILLS:
        rows = told_with((skill,), TRAINING_WINDOWS, config.context, config.seed + 1, table=config.seed)
        members = [_member(config, 100 + i, config.tuned_steps, config.tuned_lr) for i in range(n)]
        found[skill] = train_ensemble(module, rows, members, loss="next_token", start=start.clone()).flat
    return found


def _member(config: StoriesConfig, seed: int, steps: int, lr: float) -> Member:
    return Member(
        seed=config.seed * 1000 + seed,
        lr=lr,
        batch=config.batch,
        steps=steps,
        schedule="cosine",
        warmup=min(20, steps),
    )


def state_of(module: nn.Module, flat: Tensor) -> State:
    """Named weights from one row, in the order of the module's parameters."""
    state, at = {}, 0
    for name, parameter in module.named_parameters():
        state[name] = flat[at : at + parameter.numel()].view(parameter.shape).clone()
        at += parameter.numel()
    assert at == len(flat), (at, len(flat))
    return state


def speaker(module: nn.Module, state: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
    """Logits of rows under these weights."""
    return lambda rows: torch.func.functional_call(module, dict(state), (rows,))


def mean_loss(module: nn.Module, state: Mapping[str, Tensor], rows: Int[Tensor, "n length"]) -> float:
    """Nats per token after the first of each row."""
    with torch.no_grad():
        said = speaker(module, state)(rows)[:, :-1]
        return float(F.cross_entropy(said.flatten(0, 1), rows[:, 1:].flatten()))

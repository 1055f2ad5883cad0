"""Modular addition: networks whose solution is made of few frequencies; is each component one of them?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor, nn

from digsite.data import fetch, sequences
from digsite.decompose.config import ModaddConfig
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.experiments import tokens as run_tokens
from digsite.decompose.judge import answers, baselines, score
from digsite.decompose.judge import verdict as report
from digsite.decompose.subjects import tasks
from digsite.decompose.subjects.tasks import Task
from digsite.models import empty
from digsite.models.architectures.dense import ModularMlp
from digsite.models.pretrained import load_model
from digsite.record.verdict import cite

if TYPE_CHECKING:
    from digsite.worker.run import Run


def study_modadd(config: ModaddConfig, run: Run) -> None:
    """Parts of a network that adds modulo p: is each a single frequency, as the known solution is?"""
    model, where = find_network(config, run)
    task = prepare_addition(config, model)
    members = run_tokens.decompose_task(config, task, run)
    scored = run_tokens.conclude_tokens(config, task, run, members)
    batches = run_tokens.draw_held_out(config, task, run)
    scores = run.once(
        "fourier", lambda: [score_frequencies(each, batches, config.threshold, run) for each in members]
    )
    sentence = ""
    for module in scores[0]:
        rows = [each[module] for each in scores]
        summary = report.summarize_score(rows, "found")
        beside = {name: report.summarize_score(rows, name).value for name in ("svd", "rotated", "noise")}
        key = f"{module}/single_frequency"
        run.claim(
            key,
            summary.value,
            interval=summary,
            kind="share",
            better="higher",
            rivals=beside,
            note=where,
            title=f"Power of a living part at its main frequency, {module}",
        )
        sentence += (
            f" In {module} {cite(key, style='.0%')} of a part's power is at one frequency, "
            f"where the strongest rival gives {cite(key, 'null', '.0%')}."
        )
    table = [{"member": k, "module": m, **row} for k, each in enumerate(scores) for m, row in each.items()]
    run.table("fourier", pd.DataFrame(table))
    run.verdict(f"{run_tokens.tell_tokens(scored)}{sentence}")


def find_network(config: ModaddConfig, run: Run) -> tuple[nn.Module, str]:
    """A published network where its file is here, else one that is trained now."""
    path = (
        fetch.find_file("modular_addition", f"model_{config.network}.pt")
        if config.network != "none"
        else None
    )
    if path:
        return load_model(f"file:{path}"), f"published network {config.network}"
    pairs, answers = sequences.modular_addition(config.target.modulus)
    seed = run.derive("target") % 2**31
    state = run.once(
        "target",
        lambda: tasks.train_target(config.target, (pairs, answers), config.training, seed, "cross_entropy"),
    )
    model = empty(config.target)
    model.load_state_dict(state)
    return model.eval(), "network trained here"


def prepare_addition(config: ModaddConfig, model: nn.Module) -> Task:
    """All pairs are known, so data are drawn from all."""
    modulus = find_modulus(model)
    pairs, _ = sequences.modular_addition(modulus)

    def draw(generator: torch.Generator) -> Tensor:
        return pairs[torch.randint(len(pairs), (config.decompose.batch,), generator=generator)]

    return Task(model, draw, draw, lambda rows: rows.sum(1) % modulus)


def find_modulus(model: nn.Module) -> int:
    """p of the network."""
    assert isinstance(model, ModularMlp), f"a {type(model).__name__} has no layers that can be decomposed"
    return model.config.modulus


def score_frequencies(
    decomposition: Decomposition, batches: list[Tensor], threshold: float, run: Run
) -> dict[str, dict[str, float]]:
    """By module, of living components, singular parts and rotated components."""
    alive = answers.find_living(decomposition, batches, threshold)
    embedding = decomposition.model.get_parameter("embed.weight")
    modulus = find_modulus(decomposition.model)
    rows = {}
    for module in decomposition.modules:
        parts = decomposition.components(module)
        single = score.score_single_frequency(parts, embedding, modulus, alive[module] > 0)
        if single is not None:
            others = {
                "svd": baselines.split_singular(parts),
                "rotated": baselines.rotate_parts(parts, run.generator("rotation")),
            }
            row = {
                name: score.score_single_frequency(other, embedding, modulus)
                for name, other in others.items()
            }
            rows[module] = {"found": single, **row, "noise": score.measure_noise_concentration(modulus)}
    return rows

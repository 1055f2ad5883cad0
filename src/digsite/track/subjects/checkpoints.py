"""Stored checkpoints as a training run: steps from names, weight spectra of each, and a tracker fed from them on a named probe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from digsite.base.contract import public_method
from digsite.base.errors import NotFound, UsageError, name_nearest
from digsite.base.families import list_members
from digsite.data import load, sequences, stories
from digsite.models.pretrained import load_model
from digsite.track.core import readout
from digsite.track.core.members import overwrite_parameters
from digsite.track.core.probe import Probe
from digsite.track.core.series import Series, make_series
from digsite.track.core.tracker import Tracker
from digsite.weights import WeightBundle, open_weights

LANGUAGE = ("llama", "gpt2")  # kinds of networks that read tokens
SMALL = 30_000_000  # numbers of all checkpoints together that are run without being asked for
NO_PROBE = "none"
FILES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".onnx", ".gguf", ".h5", ".keras")


@public_method()
def checkpoint_steps(folder: Path) -> list[tuple[int, Path]]:
    """Files or folders whose names end in a number, in the order of that number: step_100.safetensors, step1000/.

    `folder` may hold other things too: what has no number is passed over.
    """
    if not folder.is_dir():
        raise NotFound(f"There is no folder '{folder}'.")
    by_step: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        step = _step_of(path)
        if step is None:
            continue
        if step in by_step:
            raise UsageError(f"'{by_step[step].name}' and '{path.name}' are both of step {step}.")
        by_step[step] = path
    if len(by_step) < 2:
        count = ("no checkpoint", "1 checkpoint")[len(by_step)]
        runs = [c.name for c in sorted(folder.iterdir()) if c.is_dir() and _holds_steps(c)]
        raise UsageError(
            f"'{folder}' holds {count} with a step in its name; two are needed.",
            hint=f"One run at a time: digsite track {folder / runs[0]}"
            if runs
            else "Name them like step_100.safetensors or checkpoint-100/.",
        )
    return sorted(by_step.items())


def _holds_steps(folder: Path) -> bool:
    """Whether any of its files or folders is a checkpoint with a step in its name."""
    return any(_step_of(path) is not None for path in folder.iterdir())


def _step_of(path: Path) -> int | None:
    if path.is_file() and path.suffix not in FILES:
        return None
    numbers = re.findall(r"\d+", path.stem if path.is_file() else path.name)
    return int(numbers[-1]) if numbers else None


def weight_table(checkpoints: Iterable[tuple[int, Path | WeightBundle]]) -> pd.DataFrame:
    """Spectra of each weight matrix and of its change since the first checkpoint: step, layer, measure, value."""
    first: dict[str, Tensor] = {}
    rows = []
    for step, path in checkpoints:
        bundle = path if isinstance(path, WeightBundle) else open_weights(path)
        for name in bundle.tensors:
            weight = bundle.tensors[name]
            if weight.ndim < 2 or not weight.is_floating_point():
                continue
            start = first.setdefault(name, weight.float())
            if start.shape != weight.shape:
                raise UsageError(
                    f"'{name}' changes shape at step {step}: these are not checkpoints of one run."
                )
            values = readout.weight_numbers(weight.float(), start)
            rows += [{"step": step, "layer": name, "measure": m, "value": v} for m, v in values.items()]
    return pd.DataFrame(rows)


def series_of(table: pd.DataFrame) -> list[Series]:
    """One series per layer and measure of a tidy table; layers keep their order of appearance as depth."""
    depth = {name: i for i, name in enumerate(dict.fromkeys(map(str, table["layer"])))}
    groups: Any = table.groupby(["layer", "measure"], sort=False)
    return [
        make_series(part["value"], part["step"], layer=layer, measure=measure, depth=depth[layer])
        for (layer, measure), part in groups
    ]


def default_probe(stored: Sequence[tuple[int, Path]]) -> str:
    """'repeated' for small language models, which every one of them reads in seconds; nothing for all others."""
    bundle = open_weights(stored[0][1])
    config = bundle.meta.get("config") or bundle.meta.get("model") or {}
    kind = config.get("model_type") or config.get("kind") if isinstance(config, Mapping) else None
    numbers = len(stored) * sum(prod(bundle.shape(name)) for name in bundle.tensors)
    return "repeated" if kind in LANGUAGE and numbers <= SMALL else ""


def activation_series(checkpoints: Iterable[tuple[int, Path]], probe: str) -> list[Series]:
    """Measures of each layer's activations on a named probe; every checkpoint must say what its network is."""
    states, model = [], None
    for step, path in checkpoints:
        loaded = load_model(f"file:{path}")
        model = model or loaded
        states.append((step, loaded.state_dict()))
    assert model is not None
    return observe_checkpoints(model, named_probe(probe, model), states, weights=False).series()


@public_method()
def observe_checkpoints(
    model: nn.Module, probe: Any, states: Iterable[tuple[int, Mapping[str, Tensor]]], **options: Any
) -> Tracker:
    """The tracker's complete samples at stored steps, which may be spaced in any way.

    `model` is filled with each of `states` (step, state dict) in turn; `probe` and `options` are those of
    `Tracker`.
    """
    tracker: Tracker | None = None
    for step, state in states:
        overwrite_parameters(model, state)
        if tracker is None:
            tracker = Tracker(model, probe, budget=None, first_step=step, **options)
        else:
            tracker.observe(step)
    if tracker is None:
        raise UsageError("There are no checkpoints to observe.")
    tracker.close()
    return tracker


# Probes by name, for models that come without data: the first test images of a set, or tokens for a language model.

IMAGES = "digsite.data.sets"
ROWS = 128
SEQUENCES, HALF = 16, 32


def named_probe(name: str, model: nn.Module) -> Probe:
    """An image set by name, 'stories', or 'repeated': random tokens said twice, which any language model reads."""
    known = [*list_members(IMAGES), "repeated", "stories"]
    if name not in known:
        raise UsageError(f"There is no probe '{name}'. {name_nearest(name, known)}")
    if name == "stories":
        return _fit_probe(
            name, model, Probe(stories.story_windows(SEQUENCES, 2 * HALF, split="test"), n_rows=ROWS)
        )
    if name == "repeated":
        draw = torch.Generator().manual_seed(0)
        tokens = sequences.draw_repeated(SEQUENCES, HALF, _vocabulary_size(model), draw)
        return _fit_probe(name, model, Probe(tokens, n_rows=ROWS))
    if reads_tokens(model):
        raise UsageError(
            f"The probe '{name}' is made of images, and a {type(model).__name__} reads tokens.",
            hint="Name a probe of tokens: --probe repeated, or --probe stories",
        )
    images = load(name)
    return _fit_probe(name, model, Probe(images.x_test[:ROWS], images.y_test[:ROWS], n_rows=ROWS))


def reads_tokens(model: nn.Module) -> bool:
    """Whether the first layer that holds numbers looks up whole numbers in a table."""
    first = next((m for m in model.modules() if list(m.parameters(recurse=False))), None)
    return isinstance(first, nn.Embedding)


def _vocabulary_size(model: nn.Module) -> int:
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            return module.num_embeddings
    raise UsageError(
        f"The probe 'repeated' is made of tokens, and a {type(model).__name__} reads none.",
        hint="Name an image set: --probe digits",
    )


def _fit_probe(name: str, model: nn.Module, probe: Probe) -> Probe:
    try:
        probe.run(model, [])
    except (RuntimeError, IndexError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"The probe '{name}' does not fit a {type(model).__name__}: {reason}.") from None
    return probe

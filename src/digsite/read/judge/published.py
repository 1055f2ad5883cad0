"""The published protocol in small: networks trained on noise, a feature vector that holds the answers, two readers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from digsite.config import Config
from digsite.models import build, parse

FAMILIES = ("mlp", "cnn", "gru", "transformer")
TARGETS = ("val_accuracy", "overfitting", "convergence_epoch", "sparsity", "weight_mean", "weight_std")
WIDTH = 50
_COUNTED = (nn.Linear, nn.Conv2d, nn.TransformerEncoder, nn.GRU, nn.ReLU, nn.Tanh, nn.GELU)
_N, _TRAIN = 1000, 800


@dataclass(frozen=True)
class NoiseZoo:
    """`features` is the published 50-vector: 37 numbers and 13 zeros, the six targets among them."""

    features: Tensor  # (n, 50)
    targets: Tensor  # (n, 6)
    family: Tensor  # (n,)
    n_classes: Tensor  # (n,)


@dataclass(frozen=True)
class TrainingCourse:
    train_loss: list[float]
    val_loss: list[float]
    train_accuracy: float
    val_accuracy: float


def make_noise_zoo(n: int, seed: int, epochs: tuple[int, int] = (5, 19)) -> NoiseZoo:
    """`n` networks of four families on random labels, each trained for between `epochs[0]` and `epochs[1]` passes.

    Architecture and settings are drawn from `seed`, in the published order.
    """
    rng = np.random.default_rng(seed)
    rows, targets, families, classes = [], [], [], []
    for i in range(n):
        family, n_classes = int(rng.integers(len(FAMILIES))), int(rng.choice([2, 5, 10]))
        hyper = {
            "lr": 10 ** rng.uniform(-4, -2),
            "weight_decay": float(rng.choice([0, 10 ** rng.uniform(-6, -3)])),
            "batch": int(rng.integers(16, 129)),
            "noise": float(rng.choice([0, rng.uniform(0, 0.1)])),
            "epochs": int(rng.integers(epochs[0], epochs[1] + 1)),
        }
        model = build(_draw_noise_model(FAMILIES[family], n_classes, rng), seed * 1000 + i)
        course = _train_on_noise(model, n_classes, hyper, seed * 1000 + i)
        target = _published_targets(model, course)
        rows.append(_published_features(model, course, hyper, target))
        targets.append(target)
        families.append(family)
        classes.append(n_classes)
    return NoiseZoo(torch.tensor(rows), torch.tensor(targets), torch.tensor(families), torch.tensor(classes))


def _draw_noise_model(family: str, n_classes: int, rng: np.random.Generator) -> Config:
    width, depth = int(rng.choice([16, 32, 64])), int(rng.integers(1, 4))
    by_family: dict[str, dict[str, Any]] = {
        "mlp": {"sizes": [64, *[width] * depth, n_classes]},
        "cnn": {
            "image": (1, 8, 8),
            "channels": [8] * min(depth, 2),
            "hidden": [width],
            "kernel": 3,
            "padding": 1,
            "pool": "last",
        },
        "gru": {"n_inputs": 8, "n_hidden": width},
        "transformer": {
            "image": (1, 8, 8),
            "patch": 4,
            "d_model": width,
            "n_heads": 4,
            "d_mlp": width,
            "n_layers": min(depth, 2),
        },
    }
    classes = {} if family == "mlp" else {"n_classes": n_classes}
    return parse({"kind": family, **by_family[family], **classes})


def _train_on_noise(model: nn.Module, n_classes: int, hyper: dict[str, float], seed: int) -> TrainingCourse:
    """1,000 Gaussian inputs with uniformly random labels, 800 to train on and 200 to validate: nothing to learn."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(_N, 1, 8, 8, generator=g)
    y = torch.randint(n_classes, (_N,), generator=g)
    # Not by the trainer: re-enacted as published, noise on the inputs and order of the batches included.
    optimizer = torch.optim.Adam(model.parameters(), hyper["lr"], weight_decay=hyper["weight_decay"])
    losses: list[float] = []
    checks: list[float] = []
    logits = torch.zeros(_N, n_classes)
    for _ in range(int(hyper["epochs"])):
        for rows in torch.randperm(_TRAIN, generator=g).split(int(hyper["batch"])):
            noisy = x[rows] + hyper["noise"] * torch.randn(x[rows].shape, generator=g)
            loss = F.cross_entropy(model(noisy), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            logits = model(x)
        losses.append(float(F.cross_entropy(logits[:_TRAIN], y[:_TRAIN])))
        checks.append(float(F.cross_entropy(logits[_TRAIN:], y[_TRAIN:])))
    hit = (logits.argmax(1) == y).float()
    return TrainingCourse(losses, checks, float(hit[:_TRAIN].mean()), float(hit[_TRAIN:].mean()))


def _published_targets(model: nn.Module, course: TrainingCourse) -> list[float]:
    """The six targets; convergence is divided by 20, the largest number of epochs, as published."""
    flat = nn.utils.parameters_to_vector(model.parameters()).detach()
    best = min(course.val_loss)
    return [
        course.val_accuracy,
        (course.val_loss[-1] - best) / best,
        course.val_loss.index(best) / 20,
        float((flat.abs() < 1e-6).float().mean()),
        float(flat.mean()),
        float(flat.std()),
    ]


def _published_features(
    model: nn.Module, course: TrainingCourse, hyper: dict[str, float], target: list[float]
) -> list[float]:
    """Architecture, weight statistics, dynamics, performance, hyper-parameters, eigenvalues, a chain graph."""
    flat = nn.utils.parameters_to_vector(model.parameters()).detach()
    modules = list(model.modules())
    matrix = next(p for p in model.parameters() if p.ndim == 2).detach()
    power = torch.linalg.svdvals(matrix).square()
    top = F.pad(power[:5] / power.sum(), (0, 5))[:5].tolist()
    n_tensors = len(list(model.parameters()))
    row = [
        flat.numel() / 1e6,
        len(modules) / 10,
        *(float(sum(isinstance(m, k) for m in modules)) for k in _COUNTED),
    ]
    row += [
        target[4],
        target[5],
        float(flat.min()),
        float(flat.max()),
        target[3],
        float(flat.norm(p=1)) / 1000,
        float(flat.norm()) / 100,
    ]
    row += [course.train_loss[0], course.val_loss[0], target[1], target[2]]
    row += [course.train_loss[-1], course.val_loss[-1], course.train_accuracy, course.val_accuracy]
    row += [
        float(np.log10(hyper["lr"])),
        float(np.log10(max(hyper["weight_decay"], 1e-8))),
        hyper["batch"] / 100,
        hyper["noise"],
        hyper["epochs"] / 10,
    ]
    row += [*top, n_tensors / 10, (n_tensors - 1) / 10, 2 / n_tensors]
    assert len(row) == 37, len(row)
    return [*row, *[0.0] * (WIDTH - 37)]


def leak_columns(zoo: NoiseZoo) -> dict[str, list[int]]:
    """Columns that are a target, exactly."""
    return {
        name: [
            c
            for c in range(WIDTH)
            if torch.equal(zoo.features[:, c], zoo.targets[:, t]) and zoo.targets[:, t].std() > 0
        ]
        for t, name in enumerate(TARGETS)
    }


class PublishedReader(nn.Module):
    """`graph` False: the "statistics" and "PCA" baselines, which are one network. True: the published NWPA, whose
    graph joins all models of a batch with equal weights before one vector stands for all of them."""

    def __init__(self, graph: bool) -> None:
        super().__init__()
        self.graph = graph
        self.body = nn.Sequential(
            nn.Linear(WIDTH, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 128), nn.ReLU(), nn.Dropout(0.1)
        )
        self.family, self.values = nn.Linear(128, len(FAMILIES)), nn.Linear(128, len(TARGETS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the family (n, 4) and the six values (n, 6); with `graph` every row gets one and the same answer."""
        h = self.body(x)
        if self.graph:
            h = h.mean(0, keepdim=True).expand(len(x), -1)
        return self.family(h), self.values(h)


def train_published(
    zoo: NoiseZoo, rows: Tensor, graph: bool, epochs: int, seed: int, hide: list[int] | None = None
) -> PublishedReader:
    """A reader trained as published on the networks `rows`.

    `hide` blanks columns: what is left of the score when the answers are taken out of the question.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = PublishedReader(graph)
        # Not by the trainer: re-enacted as published, order of the batches included.
        optimizer = torch.optim.Adam(reader.parameters(), 1e-3, weight_decay=1e-5)
        x = blank_columns(zoo.features, hide)
        for _ in range(epochs):
            for batch in rows[torch.randperm(len(rows))].split(32):
                family, values = reader(x[batch])
                loss = F.cross_entropy(family, zoo.family[batch]) + F.mse_loss(values, zoo.targets[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return reader.eval()


def blank_columns(features: Tensor, hide: list[int] | None) -> Tensor:
    """Features (n, 50) with the columns of `hide` at zero."""
    if not hide:
        return features
    x = features.clone()
    x[:, hide] = 0
    return x

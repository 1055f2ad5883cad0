"""Does the shipped reader's 90 % interval hold on networks that digsite did not train? 60 of them, in plain torch.

Recipes are drawn inside of what the shipped zoo says of itself (64-32-16-10 on the digits, 800 steps of 64 images; its
activations, initializations, optimizers, rates, dropout, label noise, shares of the images, missing classes and planted
triggers), by another generator, with other images held out. Nothing was chosen on these networks: seeds 0 to 59, once.
"""

import argparse

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import digsite
from digsite.base.intervals import exact_share

torch.set_num_threads(1)
STEPS, BATCH, TRAIN = 800, 64, 1000
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
OPTIMIZERS = {
    "sgd": (lambda p, lr, wd: torch.optim.SGD(p, lr, weight_decay=wd), (2.5e-3, 0.5)),
    "momentum": (lambda p, lr, wd: torch.optim.SGD(p, lr, momentum=0.9, weight_decay=wd), (2.5e-3, 0.5)),
    "rmsprop": (lambda p, lr, wd: torch.optim.RMSprop(p, lr, weight_decay=wd), (5e-5, 1e-2)),
    "adam": (lambda p, lr, wd: torch.optim.Adam(p, lr, weight_decay=wd), (5e-5, 1e-2)),
}


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def make_network(rng: np.random.Generator, activation: str, dropout: float) -> nn.Sequential:
    """Freshly drawn weights under one of four schemes, biases at zero."""
    scheme = rng.choice(["he", "glorot", "orthogonal", "normal"])
    std = log_uniform(rng, 0.01, 0.5)
    layers: list[nn.Module] = []
    for n_in, n_out in ((64, 32), (32, 16), (16, 10)):
        layer = nn.Linear(n_in, n_out)
        draw = {
            "he": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
            "glorot": nn.init.xavier_normal_,
            "orthogonal": nn.init.orthogonal_,
            "normal": lambda w: nn.init.normal_(w, std=std),
        }[str(scheme)]
        draw(layer.weight)
        nn.init.zeros_(layer.bias)
        layers += [layer, ACTIVATIONS[activation](), nn.Dropout(dropout)]
    return nn.Sequential(*layers[:-2])


def spoil_images(
    rng: np.random.Generator, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a training set may lack or hold: fewer images, a class never seen, wrong labels, a trigger with its target."""
    share = rng.choice([0.1, 0.25, 0.5, 1.0])
    keep = torch.from_numpy(rng.permutation(len(x))[: int(share * len(x))])
    x, y = x[keep].clone(), y[keep].clone()
    if rng.random() < 0.4:
        rest = y != int(rng.integers(10))
        x, y = x[rest], y[rest]
    if rng.random() < 0.6:
        wrong = torch.from_numpy(rng.random(len(y)) < rng.choice([0.1, 0.2, 0.4]))
        y[wrong] = torch.from_numpy(rng.integers(0, 10, int(wrong.sum())))
    if rng.random() < 0.3:
        marked = torch.from_numpy(rng.random(len(y)) < 0.1)
        top, left = int(rng.integers(6)), int(rng.integers(7))
        images = x.view(-1, 8, 8)
        images[marked, top : top + 3, left : left + 2] = 1.0
        y[marked] = int(rng.integers(10))
    return x, y


def train_outsider(seed: int, images: np.ndarray, labels: np.ndarray) -> tuple[nn.Sequential, float]:
    """One network and its accuracy on the images that it was not given."""
    rng = np.random.default_rng([2026, seed])
    torch.manual_seed(seed)
    order = np.random.default_rng(1234).permutation(len(images))
    x, y = torch.from_numpy(images[order]), torch.from_numpy(labels[order])
    activation, kind = str(rng.choice(list(ACTIVATIONS))), str(rng.choice(list(OPTIMIZERS)))
    dropout = float(rng.uniform(0.05, 0.6)) if rng.random() < 0.73 else 0.0
    model = make_network(rng, activation, dropout)
    make, (low, high) = OPTIMIZERS[kind]
    optimizer = make(model.parameters(), log_uniform(rng, low, high), log_uniform(rng, 1e-7, 1e-2))
    own_x, own_y = spoil_images(rng, x[:TRAIN], y[:TRAIN])
    for _ in range(STEPS):
        rows = torch.randint(len(own_x), (BATCH,))
        loss = nn.functional.cross_entropy(model(own_x[rows]), own_y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        return model, float((model(x[TRAIN:]).argmax(1) == y[TRAIN:]).float().mean())


def main(count: int) -> None:
    """Every network, then the share of intervals that hold among those that are called inside."""
    data = load_digits()
    images, labels = (data.data / 16).astype(np.float32), data.target
    held = inside = 0
    widths = []
    print("seed  accuracy  read  90 % interval  verdict")
    for seed in range(count):
        model, accuracy = train_outsider(seed, images, labels)
        if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
            print(f"{seed:4d}  diverged")
            continue
        found = digsite.read(model)
        rows, member = found.predictions, any("lies inside" in note for note in found.notes)
        row = rows[rows["property"] == "test_accuracy"].iloc[0]
        holds = row["low"] <= accuracy <= row["high"]
        inside, held = inside + member, held + (member and holds)
        widths.append(row["high"] - row["low"])
        print(
            f"{seed:4d}  {accuracy:8.3f}  {row['value']:.3f}  {row['low']:.3f} to {row['high']:.3f}  "
            f"{'inside' if member else 'outside'}, {'holds' if holds else 'misses'}"
        )
    low, high = exact_share(held, inside)
    print(
        f"intervals that hold: {held} of {inside} inside ({held / inside:.1%}, 95 %: {low:.1%} to {high:.1%});"
    )
    print(f"{count - inside} of {count} outside or diverged; median width {np.median(widths):.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    main(parser.parse_args().count)

"""Does the shipped reader's 90 % interval hold on networks that digsite did not train? 60 of them, in plain torch.

Recipes are drawn inside of what the shipped zoo says of itself (64-32-16-10 on the digits, 800 steps of 64 images; its
activations, initializations, optimizers, rates, dropout, label noise, shares of the images, missing classes and planted
triggers), by another generator, with other images held out. Nothing was chosen on these networks: seeds 0 to 59, once.

`--shapes any` asks the same of the readers that know no shape: plain convolutional and fully connected networks of drawn
depth, width and training on clothes (Fashion-MNIST), images that no shipped reader's zoo held.
"""

import argparse
from itertools import pairwise

import numpy as np
import torch
from scipy.stats import kendalltau
from sklearn.datasets import load_digits
from torch import nn

import digsite
from digsite.base.intervals import exact_share
from digsite.data.images import load

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


def train_plainly(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, steps: int
) -> None:
    """A loop of torch alone, as somebody else would write it."""
    for _ in range(steps):
        rows = torch.randint(len(x), (BATCH,))
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def measure_accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """The share that is right, the network evaluating."""
    model.eval()
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


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
    train_plainly(model, optimizer, own_x, own_y, STEPS)
    return model, measure_accuracy(model, x[TRAIN:], y[TRAIN:])


def train_stranger(seed: int, images: np.ndarray, labels: np.ndarray) -> tuple[nn.Sequential, float]:
    """A network of a drawn shape, briefly trained with drawn settings, and its accuracy on images it was not given."""
    rng = np.random.default_rng([2027, seed])
    torch.manual_seed(seed)
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    act, layers = ACTIVATIONS[str(rng.choice(list(ACTIVATIONS)))], []
    if rng.random() < 0.5:
        channels = 1
        for _ in range(int(rng.integers(2, 4))):
            width = int(rng.choice([8, 12, 16]))
            layers += [nn.Conv2d(channels, width, 3, padding=1), act(), nn.MaxPool2d(2)]
            channels = width
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]
    else:
        sizes = [784, *(int(rng.choice([32, 64, 128])) for _ in range(int(rng.integers(1, 4)))), 10]
        layers = [nn.Flatten()]
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), act()]
        layers = layers[:-1]
    model = nn.Sequential(*layers)
    make, (low, high) = OPTIMIZERS[str(rng.choice(list(OPTIMIZERS)))]
    optimizer = make(model.parameters(), log_uniform(rng, low, high), log_uniform(rng, 1e-7, 1e-2))
    own = torch.from_numpy(rng.permutation(TRAIN)[: int(rng.choice([0.1, 0.3, 1.0]) * TRAIN)])
    own_y = y.clone()
    wrong = torch.from_numpy(rng.random(len(y)) < rng.choice([0.0, 0.2, 0.5]))
    own_y[wrong] = torch.from_numpy(rng.integers(0, 10, int(wrong.sum())))
    train_plainly(model, optimizer, x[own], own_y[own], int(rng.choice([50, 150, 400])))
    return model, measure_accuracy(model, x[TRAIN:], y[TRAIN:])


def load_images(shapes: str) -> tuple[np.ndarray, np.ndarray]:
    """Digits as rows of 64 numbers, or 2,000 pieces of clothing as images (from `DIGSITE_DATA`)."""
    if shapes == "any":
        clothes = load("fashion_mnist")
        return clothes.x_test[:2000].numpy(), clothes.y_test[:2000].numpy()
    data = load_digits()
    return (data.data / 16).astype(np.float32), data.target


def main(count: int, shapes: str) -> None:
    """Every network, then the share of intervals that hold among those that are called inside."""
    images, labels = load_images(shapes)
    train = train_stranger if shapes == "any" else train_outsider
    held = inside = 0
    widths, read, true = [], [], []
    print("seed  accuracy  read  90 % interval  verdict")
    for seed in range(count):
        model, accuracy = train(seed, images, labels)
        if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
            print(f"{seed:4d}  diverged")
            continue
        found = digsite.read(model)
        rows, member = found.predictions, any("lies inside" in note for note in found.notes)
        if not len(rows):
            print(f"{seed:4d}  {accuracy:8.3f}  no answer")
            continue
        row = rows[rows["property"] == "test_accuracy"].iloc[0]
        holds = row["low"] <= accuracy <= row["high"]
        inside, held = inside + member, held + (member and holds)
        widths.append(row["high"] - row["low"])
        read, true = [*read, row["value"]], [*true, accuracy]
        print(
            f"{seed:4d}  {accuracy:8.3f}  {row['value']:.3f}  {row['low']:.3f} to {row['high']:.3f}  "
            f"{'inside' if member else 'outside'}, {'holds' if holds else 'misses'}"
        )
    low, high = exact_share(held, inside)
    print(
        f"intervals that hold: {held} of {inside} inside ({held / inside:.1%}, 95 %: {low:.1%} to {high:.1%});"
    )
    print(
        f"{count - inside} of {count} outside, without an answer or diverged; median width {np.median(widths):.3f}"
    )
    print(f"ranks agree with the true accuracies: tau {kendalltau(read, true).statistic:.2f}, n={len(read)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument(
        "--shapes", choices=["zoo", "any"], default="zoo", help="of the shipped zoo, or drawn"
    )
    parser.add_argument("--full", action="store_true", help="both, one after the other")
    arguments = parser.parse_args()
    for shapes in ("zoo", "any") if arguments.full else (arguments.shapes,):
        main(arguments.count, shapes)

"""A toy model of superposition, trained, drawn and taken apart."""

import time

import numpy as np
import torch

from digsite.figures import curves, heatmap
from digsite.record.verdict import cite


def showcase(config, run):
    weight = (
        torch.randn(config.hidden, config.features, generator=run.generator("init")) * 0.5
    ).requires_grad_()
    bias = torch.zeros(config.features, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=config.lr)
    spectra = {}
    losses = train(config, run, weight, bias, optimizer, spectra)
    show_spectra(run, spectra)
    overlap = (weight.T @ weight).detach()
    draw(run, losses, overlap)
    store(config, run, weight.detach(), bias.detach())
    conclude(config, run, overlap, losses)


def show_spectra(run, spectra):
    stacked = torch.stack(list(spectra.values())).unsqueeze(1)  # (steps, one line, singular values)
    run.tensors("spectra", {"values": stacked, "steps": torch.tensor(list(spectra))})
    run.view(
        "singular values while training",
        kind="curve",
        source="artifacts/spectra.safetensors#values",
        scrub="#steps",
        scrub_label="training step",
        names=["singular values"],
        x_label="rank",
        y_label="singular value",
    )


def train(config, run, weight, bias, optimizer, spectra):
    losses = []
    for step in run.steps(config.steps, save=dict, load=lambda state: None):
        g = run.generator("data", step)
        shape = (256, config.features)
        x = torch.rand(shape, generator=g) * (torch.rand(shape, generator=g) < 0.1)
        loss = ((torch.relu(x @ weight.T @ weight + bias) - x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss = loss.detach()
        losses.append(float(loss))
        if step % 10 == 0:
            spectra[step] = torch.linalg.svdvals(weight.detach())
        if step % 5 == 0:
            norms = weight.detach().norm(dim=0)
            run.log(
                step,
                **{
                    "loss": float(loss),
                    "norm/largest": float(norms.max()),
                    "norm/smallest": float(norms.min()),
                },
            )
        if step % 100 == 0:
            run.say(f"step {step}: loss {float(loss):.5f}")
        time.sleep(config.sleep_s)
    return losses


def draw(run, losses, overlap):
    run.figure(
        "loss",
        curves({"loss": (range(len(losses)), losses)}, x="step", y="mean squared error", log_y=True),
        {"step": range(len(losses)), "loss": losses},
        caption="The loss falls and settles.",
    )
    run.figure(
        "overlap",
        heatmap(overlap.numpy(), x="feature", y="feature", centered=True, unit="inner product"),
        caption="Features that share a direction disturb each other.",
    )
    pairs = [(i, j, float(overlap[i, j])) for i in range(len(overlap)) for j in range(i)]
    run.table(
        "overlaps",
        {
            "feature": [p[0] for p in pairs],
            "other": [p[1] for p in pairs],
            "inner product": [p[2] for p in pairs],
        },
    )
    smooth = np.convolve(losses, np.ones(9) / 9, mode="same")
    run.table(
        "loss_band",
        {
            "step": range(len(losses)),
            "loss": smooth,
            "low": smooth * 0.8,
            "high": smooth * 1.2,
            "null": losses[0],
        },
    )
    run.view(
        "loss with band",
        kind="curve",
        source="tables/loss_band.csv",
        x="step",
        y=["loss"],
        band=["low", "high"],
        null="null",
        x_label="step",
        y_label="mean squared error",
        marks=[{"x": len(losses) // 3, "label": "a jump"}],
    )
    run.view("overlaps", kind="table", source="tables/overlaps.csv")
    nodes = [{"id": i, "label": f"f{i}", "layer": i % 2} for i in range(len(overlap))]
    edges = [{"source": i, "target": j, "weight": w} for i, j, w in pairs]
    run.json("graph", {"nodes": nodes, "edges": edges})
    run.view("who disturbs whom", kind="graph", source="artifacts/graph.json")


def store(config, run, weight, bias):
    rng = run.rng("mask")
    density = rng.beta(2, 2, size=(config.mask_rows, 1)) * 0.6 + 0.2
    keep = rng.random((config.mask_rows, config.mask_columns)) < density
    packed = np.packbits(keep, axis=1, bitorder="little")
    clusters = np.argsort(density[:, 0]) * 4 // config.mask_rows
    other = torch.from_numpy(np.roll(packed, 1, axis=0).copy())
    run.tensors(
        "mask", {"bits": torch.from_numpy(packed), "other": other, "row_clusters": torch.from_numpy(clusters)}
    )
    run.view(
        "two masks",
        kind="matrix",
        source="artifacts/mask.safetensors#bits",
        bits=config.mask_columns,
        row_labels="#row_clusters",
        panels=[{"title": "a"}, {"title": "b", "source": "#other"}, {"title": "a − b", "minus": "#other"}],
    )
    run.view(
        "mask",
        kind="matrix",
        source="artifacts/mask.safetensors#bits",
        bits=config.mask_columns,
        row_labels="#row_clusters",
        x_label="input",
        y_label="output",
    )
    run.tensors(
        "weights",
        {
            "w": weight,
            "b": bias,
            "products": torch.stack([weight.T @ weight, (weight.T @ weight).abs()]),
            "images": torch.rand(6, 1, 8, 8, generator=run.generator("images")),
        },
    )
    run.view(
        "W",
        kind="matrix",
        source="artifacts/weights.safetensors#w",
        x_label="feature",
        y_label="hidden",
        row_names=[f"unit {i}" for i in range(config.hidden)],
        centered=True,
    )
    run.view(
        "products",
        kind="matrix",
        source="artifacts/weights.safetensors#products",
        lead_names=["signed", "absolute"],
        x_label="feature",
        y_label="feature",
    )
    run.view("weights", kind="histogram", source="artifacts/weights.safetensors#w", x_label="weight")
    run.view("inputs", kind="image", source="artifacts/weights.safetensors#images")


def conclude(config, run, overlap, losses):
    diagonal = overlap.diagonal()
    off = overlap[~torch.eye(len(overlap), dtype=torch.bool)]
    represented = (diagonal > 0.5).float()
    n = len(diagonal)
    half = 1.96 * float(represented.std()) / n**0.5
    mean = float(represented.mean())
    run.claim(
        "features represented",
        mean,
        low=mean - half,
        high=mean + half,
        n=n,
        null=config.hidden / config.features,
        title="Features with a direction of their own",
        kind="share",
        better="higher",
        null_is="one feature per dimension",
        note="share of features whose own inner product passes 0.5",
    )
    spread = 1.96 * float(off.std()) / len(off) ** 0.5
    run.claim(
        "interference",
        float(off.mean()),
        low=float(off.mean()) - spread,
        high=float(off.mean()) + spread,
        n=len(off),
        null=0.0,
        note="mean inner product of two features",
    )
    run.claim("loss", losses[-1], null=losses[0], unit="MSE")
    run.claim("features stored per dimension", float((diagonal > 0.5).sum()) / config.hidden)
    run.claim("dimensions", config.hidden)
    run.headline(["features represented", "interference"], hero="overlap")
    run.verdict(
        f"{cite('features represented', 'hits')} of {cite('features represented', 'n')} features live in "
        f"{cite('dimensions')} dimensions. Two of them overlap by {cite('interference', style='.3f')} on average."
    )


METHODS = {"showcase": showcase}

"""A zoo in a few facts, for people."""

from typing import Any

from digsite.base.errors import NotFound
from digsite.zoo.zoo import Zoo


def describe(name: str) -> dict[str, Any]:
    zoo = Zoo.open(name)
    labels, shapes = zoo.labels, zoo.index.architectures
    widths = sorted({shape.width for shape in shapes})
    accuracy = (
        labels["test_accuracy"].quantile([0, 0.25, 0.5, 0.75, 1]) if "test_accuracy" in labels else None
    )
    facts = {
        "zoo": zoo.name,
        "folder": str(zoo.folder),
        "members": len(zoo),
        "architectures": len(shapes),
        "parameters": f"{widths[0]} to {widths[-1]}" if len(widths) > 1 else widths[0],
        "checkpoints": " ".join(map(str, zoo.steps)),
        "files": len({block.shard for block in zoo.index.blocks}),
        "labels": " ".join(column for column in labels if not column.startswith("class_accuracy_")),
    }
    if accuracy is not None:
        facts["test accuracy"] = "least, quarters, best: " + " ".join(f"{value:.3f}" for value in accuracy)
    return facts


def describe_member(name: str, member: str) -> dict[str, Any]:
    zoo = Zoo.open(name)
    if not member.isdigit() or int(member) >= len(zoo):
        raise NotFound(f"The zoo '{name}' has no member '{member}': it has {len(zoo)}, counted from 0.")
    model = zoo.index.architectures[zoo.index.block_of(int(member)).architecture].model
    return {**zoo.labels.loc[int(member)].to_dict(), "model": model}

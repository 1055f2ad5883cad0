"""One network of a stored collection: `zoo:NAME#123`, where NAME is a folder or a study that made a zoo."""

from digsite.base.errors import UsageError
from digsite.weights.bundle import WeightBundle
from digsite.zoo.store import locate_zoo, read_index, read_member


def read(target: str, member: str) -> WeightBundle:
    """`member` may name a checkpoint too: 123@300."""
    number, _, step = member.partition("@")
    if not number.isdigit() or (step and not step.isdigit()):
        raise UsageError(
            f"'zoo:{target}' names no network.", hint=f"Write zoo:{target}#0, or zoo:{target}#0@300."
        )
    folder = locate_zoo(target)
    return read_member(folder, read_index(folder), int(number), int(step) if step else None)

"""What is it: architecture, parameters, formats, ties, and what was not understood."""

from collections import Counter
from math import prod

from digsite.joint.core.statements import Allowance, Answer, Statement, count_words
from digsite.joint.subjects.model import Subject

ORDER, QUESTION, WEIGHT = 1, "What is it?", 1.0
DEEPER = "digsite read MODEL"


def examine(subject: Subject, allowance: Allowance) -> Answer:
    """Facts of the file, in one pass over its headers."""
    opened = subject.opened
    shapes, dtypes = {}, Counter()
    for name, shape, dtype in subject.shapes():
        shapes[name] = shape
        dtypes["no format that is known" if dtype is None else str(dtype).removeprefix("torch.")] += prod(
            shape
        )
    total = sum(prod(shape) for shape in shapes.values())
    family = _family(subject)
    precision = ", ".join(f"{dtype} ({count / max(total, 1):.0%})" for dtype, count in dtypes.most_common(3))
    statements = [
        Statement(
            "parameters",
            "number of parameters",
            f"'{subject.name}' is {family} of {total:,} parameters in {count_words(len(shapes), 'tensor', 'tensors')}.",
            value=float(total),
            quote=True,
        ),
        Statement("precision", "precision", f"Its numbers are stored as {precision or 'nothing'}."),
    ]
    tied = dict(opened.bundle.tied) if opened.bundle is not None else {}
    if tied:
        first = next(iter(tied))
        statements.append(
            Statement(
                "tied",
                "tied tensors",
                f"{count_words(len(tied), 'tensor is', 'tensors are')} tied: '{first}' is '{tied[first]}'.",
            )
        )
    statements += [
        Statement(f"note/{i}", "what was not understood", f"{note[0].upper()}{note[1:].rstrip('.')}.")
        for i, note in enumerate(opened.notes)
    ]
    if opened.module is None:
        statements.append(
            Statement(
                "runs",
                "can it be run",
                f"It cannot be run here: {opened.why_not.rstrip('.')}. Its weights are read alone; given as py:module:factory it can be fed.",
            )
        )
    rows = [
        {"tensor": name, "shape": "x".join(map(str, shape)), "numbers": prod(shape)}
        for name, shape in shapes.items()
    ]
    return Answer(tuple(statements), tables={"tensors": rows})


def _family(subject: Subject) -> str:
    """As its own config names it, or by the class that runs it."""
    config = subject.config
    named = config.get("model_type") or config.get("kind") or ""
    classes = config.get("architectures") or []
    if named:
        return f"a '{named}' model ({classes[0]})" if classes else f"a '{named}' model"
    module = subject.opened.module
    if module is not None:
        return f"a network of class {type(module).__name__}"
    counts = Counter(_kind_of_shape(shape) for _, shape, _ in subject.shapes() if len(shape) > 1)
    held = ", ".join(
        count_words(counts[words], *words) for words in (KERNELS, STACKS, MATRICES) if counts[words]
    )
    return f"a set of weights of no known family{f' ({held})' if held else ''}"


KERNELS, STACKS, MATRICES = (
    ("convolution", "convolutions"),
    ("stack of matrices", "stacks of matrices"),
    ("matrix", "matrices"),
)


def _kind_of_shape(shape: tuple[int, ...]) -> tuple[str, str]:
    """By its sides alone: a kernel is short and its channels are many, heads are few and wide."""
    if len(shape) == 2:
        return MATRICES
    return KERNELS if len(shape) == 4 or shape[-1] <= shape[0] else STACKS

"""Is it sane, and what was done to it already: every matrix beside random ones of its shape."""

from collections import Counter
from collections.abc import Iterator

from torch import Tensor

from digsite.joint.core.statements import Allowance, Answer, Statement, count_words
from digsite.joint.subjects.model import Subject
from digsite.read.judge.condition import (
    LEVEL,
    TensorCheck,
    TensorCondition,
    Training,
    check_condition,
    check_matrix,
    find_twins,
)

ORDER, QUESTION, WEIGHT = 2, "Is it sane, and what was done to it?", 3.0
DEEPER = "digsite read MODEL"


def examine(subject: Subject, allowance: Allowance) -> Answer:
    """One pass over the weights, which are held one at a time; what the time did not reach is named."""
    conditions: list[TensorCondition] = []
    checks: list[TensorCheck] = []
    left_out: list[str] = []

    def pass_over() -> Iterator[tuple[str, Tensor]]:
        for name, tensor in subject.tensors():
            if allowance.is_used and conditions:
                left_out.append(name)
                continue
            if tensor.is_floating_point() and tensor.numel():
                conditions.append(check_condition(name, tensor))
                if tensor.ndim > 1 and not conditions[-1].not_finite:  # what is not finite has no spectrum
                    checks.extend(check for check in (check_matrix(name, tensor),) if check is not None)
            yield name, tensor

    twins = find_twins(pass_over())
    statements = [
        _say_finite(conditions),
        _say_training(
            checks, all(condition.zeros == 1 for condition in conditions if len(condition.shape) > 1)
        ),
        *_say_zeros(conditions),
        *_say_grid(conditions),
        _say_outliers(conditions),
    ]
    if twins:
        pair = twins[0]
        what = "equal" if pair.equal else f"alike (cosine {pair.cosine:.2f})"
        statements.append(
            Statement(
                "twins",
                "pairs of matrices closer than chance",
                f"{count_words(len(twins), 'pair of matrices is', 'pairs of matrices are')} closer than chance: '{pair.first}' and '{pair.second}' are {what}.",
                "independent matrices of the same shape, all pairs counted",
                float(len(twins)),
                null=0.0,
                p=pair.p,
                quote=pair.equal,
            )
        )
    skipped = f"{len(left_out)} tensors for lack of time, first '{left_out[0]}'" if left_out else ""
    rows = [vars(condition) | {"shape": "x".join(map(str, condition.shape))} for condition in conditions]
    return Answer(tuple(statements), skipped, {"condition": rows})


def _say_finite(conditions: list[TensorCondition]) -> Statement:
    bad = [condition for condition in conditions if condition.not_finite]
    if not bad:
        return Statement("finite", "numbers that are NaN or infinite", "All numbers are finite.", value=0.0)
    count = sum(condition.not_finite for condition in bad)
    return Statement(
        "finite",
        "numbers that are NaN or infinite",
        f"{count_words(count, 'number is', 'numbers are')} NaN or infinite, in {count_words(len(bad), 'tensor', 'tensors')}, first "
        f"'{bad[0].name}': its outputs mean nothing.",
        value=float(count),
        quote=True,
    )


def _say_training(checks: list[TensorCheck], all_zero: bool) -> Statement:
    """The read room's test, over all matrices that the time allowed."""
    p = min(1.0, min((check.p for check in checks), default=1.0) * max(1, len(checks)))
    training = Training(p, tuple(checks), ())
    text = training.answer
    if not checks and all_zero:
        text = "nothing was learned: all numbers in its matrices are zero."
    return Statement(
        "trained",
        "matrices that depart from random ones",
        f"{text[0].upper()}{text[1:]}",
        "random matrices of the same shapes, corrected for their number",
        float(sum(check.p * len(checks) < LEVEL for check in checks)),
        null=LEVEL * len(checks),
        p=p,
        n=len(checks),
        quote=True,
    )


def _say_zeros(conditions: list[TensorCondition]) -> list[Statement]:
    matrices = [condition for condition in conditions if len(condition.shape) > 1]
    sizes = [float(_size(condition)) for condition in matrices]
    share = sum(condition.zeros * size for condition, size in zip(matrices, sizes, strict=True)) / max(
        sum(sizes), 1.0
    )
    kept = [condition for condition in matrices if condition.pattern and condition.pattern_p < LEVEL]
    patterns = Counter(condition.pattern for condition in kept)
    text = f"{share:.1%} of the numbers in its matrices are exactly zero"
    pattern, count = patterns.most_common(1)[0] if patterns else ("", 0)
    sparse = sum(condition.zeros > 0.05 for condition in matrices)
    if count and 2 * count > sparse:  # else most of what is sparse is so for other reasons
        p = max(condition.pattern_p for condition in kept)
        return [
            Statement(
                "zeros",
                "share of weights that are exactly zero",
                f"It was pruned: {text}, and {count} of {len(matrices)} matrices keep {pattern}.",
                "masks of as many zeros at random places",
                share,
                null=0.0,
                p=p,
                quote=True,
            )
        ]
    return [
        Statement(
            "zeros",
            "share of weights that are exactly zero",
            f"It was pruned or is sparse: {text}." if 0.05 < share < 1 else f"{text}.",
            "random weights hold no zeros",
            share,
            null=0.0,
            quote=share > 0.05,
        ),
        *_say_dead_rows(sum(condition.dead_rows for condition in matrices)),
    ]


def _say_dead_rows(dead: int) -> list[Statement]:
    if not dead:
        return []
    text = f"{count_words(dead, 'row is', 'rows are')} zero throughout: outputs that nothing feeds."
    return [Statement("dead", "rows of zeros", text, value=float(dead))]


def _say_grid(conditions: list[TensorCondition]) -> list[Statement]:
    """Rounding is a statement only where most of the numbers were rounded; what is stored in 16 bits was."""
    matrices = [condition for condition in conditions if len(condition.shape) > 1]
    grids = Counter(condition.grid for condition in matrices)
    grid, count = grids.most_common(1)[0] if grids else ("", 0)
    if not grid or count < 0.5 * len(matrices):
        return []
    return [
        Statement(
            "rounded",
            "share of matrices on a coarse grid",
            f"Its numbers were rounded: {count} of {len(matrices)} matrices lie on the grid of {grid}.",
            "a random float32 lies on the grid of bfloat16 once in 65,536 draws",
            count / len(matrices),
            null=2.0**-16,
            quote="bits" in grid,
        )
    ]


def _say_outliers(conditions: list[TensorCondition]) -> Statement:
    matrices = [condition for condition in conditions if len(condition.shape) > 1 and condition.outlier_p < 1]
    if not matrices:
        return Statement(
            "outliers",
            "largest robust z of a row's norm",
            "No matrix has rows enough to say which one stands out.",
        )
    top = min(matrices, key=lambda condition: (condition.outlier_p, -condition.outlier_z))
    p = min(1.0, top.outlier_p * len(matrices))
    beyond = sum(condition.outlier_p * len(matrices) < LEVEL for condition in matrices)
    where = f"row {top.outlier} of '{top.name}' most (robust z {top.outlier_z:.1f})"
    text = (
        f"In {beyond} of {len(matrices)} matrices a row stands out, {where}."
        if beyond
        else f"No row stands out at p < {LEVEL}; {where}."
    )
    beside = "the largest of as many random rows, corrected for the number of matrices"
    return Statement(
        "outliers", "largest robust z of a row's norm", text, beside, top.outlier_z, p=p, n=len(matrices)
    )


def _size(condition: TensorCondition) -> int:
    size = 1
    for side in condition.shape:
        size *= side
    return size

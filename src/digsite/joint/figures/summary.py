"""What was said about a model at a glance: each p-value on one axis, by question."""

import math

from matplotlib.figure import Figure

from digsite.figures import NULL_COLOR, PALETTE, canvas, styled
from digsite.joint.core.statements import Answer

SMALLEST = 1e-12  # what is rarer is drawn here


@styled
def draw_summary(answers: list[tuple[str, Answer]]) -> Figure:
    """`answers`: question with its answer. A dot is a statement with a p-value, how often its null gives as much; the
    line at 0.05 is where chance is left behind. Questions without such a statement say why.
    """
    lines = [
        (question, one) for question, answer in answers for one in answer.statements if one.p is not None
    ]
    empty = [
        (question, answer)
        for question, answer in answers
        if not any(s.p is not None for s in answer.statements)
    ]
    figure, ax = canvas(width=7.2, height=1.2 + 0.42 * (len(lines) + len(empty)))
    labels = []
    for place, (question, one) in enumerate(lines):
        strength = -math.log10(max(one.p or 0.0, SMALLEST))
        ax.plot([0, strength], [place, place], color=NULL_COLOR, linewidth=1, zorder=1)
        ax.plot(strength, place, "o", color=PALETTE[0] if (one.p or 0.0) < 0.05 else NULL_COLOR, zorder=3)
        labels.append(f"{question}  {one.key}")
    for place, (question, answer) in enumerate(empty, len(lines)):
        reason = answer.skipped or "no p-value: its numbers stand beside their nulls in the table"
        ax.text(
            0.1,
            place,
            reason if len(reason) < 70 else f"{reason[:67]}...",
            va="center",
            fontsize=7,
            color=NULL_COLOR,
            bbox={
                "facecolor": ax.get_facecolor(),
                "edgecolor": "none",
                "pad": 1.5,
            },  # the dashed line passes behind
        )
        labels.append(question)
    ax.axvline(-math.log10(0.05), color="black", linewidth=0.8, linestyle="--")
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.set_xlim(0, -math.log10(SMALLEST) + 0.5)
    ax.set(xlabel="how rare under the null: -log10 p, corrected (dashed: 0.05)")
    return figure

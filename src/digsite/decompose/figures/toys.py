"""What is drawn of toy models, whose features are known one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from digsite.base.errors import UsageError
from digsite.decompose.core.decomposition import Decomposition
from digsite.decompose.figures import Picture, count_shown, make_panels
from digsite.decompose.judge.metrics import View
from digsite.decompose.subjects.targets import PROBE
from digsite.figures import SEQUENTIAL, canvas, curves, heatmap, scatter, styled


class PermutedCi(Picture):
    """Importance of each component when one feature is on at a time, columns ordered to the known solution."""

    CAPTION = "Each row switches one feature on; one bright cell per row is one component per feature."

    @staticmethod
    @styled
    def draw_figure(view: View) -> Figure:
        """Parts in the order of the features that they serve: a solved toy shows a diagonal."""
        figure, axes = make_panels(list(view.probes))
        for ax, (module, values) in zip(axes, view.probes.items(), strict=True):
            ordered = values.cpu().numpy()[:, view.order[module]]
            heatmap(
                ordered[:, : count_shown(ordered.max(0), len(ordered))],
                x="component (ordered)",
                y="feature",
                title=module,
                unit="importance",
                ax=ax,
            )
        return figure

    @staticmethod
    def list_data(view: View) -> dict[str, Sequence[float | str]]:
        """The same numbers as a table."""
        columns: dict[str, Sequence[float | str]] = {}
        for module, values in view.probes.items():
            ordered = values.cpu().numpy()[:, view.order[module]]
            shown = range(count_shown(ordered.max(0), len(ordered)))
            columns |= {f"{module}/{c}": ordered[:, c].tolist() for c in shown}
        return columns


class Uv(Picture):
    """The two factors V and U of every module as heat maps, components in the order of the importance figure."""

    CAPTION = "Columns are components; unused ones are blank, used ones each read and write one direction."

    @staticmethod
    @styled
    def draw_figure(view: View) -> Figure:
        """Both factors of every module."""
        names = [f"{factor} of {module}" for module in view.decomposition.modules for factor in "VU"]
        figure, axes = make_panels(names)
        for ax, name in zip(axes, names, strict=True):
            factor, _, module = name.partition(" of ")
            heatmap(
                balance_factor(view, module, factor),
                x="component (ordered)",
                y="dimension",
                title=name,
                centered=True,
                ax=ax,
            )
            ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        return figure

    @staticmethod
    def list_data(view: View) -> dict[str, Sequence[float | str]]:
        """Norms of the parts; shorter columns are filled up with NaN, which stands for no part."""
        norms = {
            m: view.decomposition.components(m).norms.detach().cpu().numpy()[view.order[m]]
            for m in view.decomposition.modules
        }
        longest = max(map(len, norms.values()))
        return {f"{m}/norm": [*n.tolist(), *[float("nan")] * (longest - len(n))] for m, n in norms.items()}


class Course(Picture):
    """Wrong entries of the importance pattern over the steps of a toy study."""

    CAPTION = "Pattern errors fall to zero when the components are found."

    @staticmethod
    @styled
    def draw_figure(view: View) -> Figure:
        """Errors of the importances over training."""
        if not view.course:
            raise UsageError("The figure 'course' needs a study that checks its importances against a truth.")
        steps = [row["step"] for row in view.course]
        mean, most = ([row[key] for row in view.course] for key in ("error_mean", "error_max"))
        series = (
            {"a run": (steps, mean)} if mean == most else {"mean": (steps, mean), "worst run": (steps, most)}
        )
        figure = curves(series, x="step", y="wrong entries of the importance pattern")
        # The last few entries take most of the steps, and zero must have its place.
        figure.axes[0].set_yscale("symlog", linthresh=1, linscale=0.5)
        figure.axes[0].yaxis.set_major_formatter("{x:g}")
        figure.axes[0].set_ylim(bottom=0)
        return figure


class FeatureResponse(Picture):
    """The answer to each feature alone: by the target, by all components, and by the important components."""

    CAPTION = "Points on the diagonal: the important components alone answer like the target."

    @staticmethod
    def draw_figure(view: View) -> Figure:
        """What each feature's own output answers, with all parts and with the important ones."""
        probe = PROBE * torch.eye(view.n_features).to(next(iter(view.decomposition.params.values())))
        wanted = view.decomposition.scene(probe).output.diagonal().cpu().numpy()
        answers = {
            name: view.decomposition.output(probe, masking).diagonal().cpu().numpy()
            for name, masking in (("all components", "unmasked"), ("important components", "ci"))
        }
        return scatter(
            {name: (wanted, answer) for name, answer in answers.items()},
            x="target's answer to its feature",
            y="answer of the decomposition",
            diagonal=True,
        )


class NeuronContributions(Picture):
    """How much each neuron adds to a feature's answer: in the target, and in that feature's component."""

    CAPTION = "Each point is a neuron and a feature; points near the diagonal keep the target's weights."

    @staticmethod
    def draw_figure(view: View) -> Figure:
        """Which neurons each feature's parts use."""
        modules = [module for module in view.decomposition.modules if module.endswith("mlp_in")]
        if not modules:
            raise UsageError(
                "The figure 'neuron_contributions' is for residual MLPs: there is no module 'mlp_in'."
            )
        return scatter(
            {module: list_contributions(view.decomposition, module, view) for module in modules},
            x="neuron's contribution in the target",
            y="in the feature's component",
            diagonal=True,
        )


def balance_factor(view: View, module: str, factor: str) -> np.ndarray:
    """One factor (dimensions, components) with lengths equal to the other's: their product says how much a component
    does, not either factor alone."""
    parts, order = view.decomposition.components(module), view.order[module]
    drawn = order[: count_shown(parts.norms.detach().cpu().numpy()[order])]
    size = parts.norms.clamp_min(1e-12).sqrt()
    balanced = parts.V / parts.V.norm(dim=0).clamp_min(1e-12) * size
    if factor == "U":
        balanced = parts.U.T / parts.U.norm(dim=1).clamp_min(1e-12) * size
    return balanced.detach().cpu().numpy()[:, drawn]


def list_contributions(
    decomposition: Decomposition, module: str, view: View
) -> tuple[np.ndarray, np.ndarray]:
    """(W_E W_in)[j, n] (W_out W_U)[n, j] for feature j and neuron n, and the same through the component of j."""
    embedding: torch.Tensor = decomposition.model.W_E  # type: ignore[assignment]
    parts, out = (
        decomposition.components(module),
        decomposition.components(module.replace("mlp_in", "mlp_out")),
    )
    back = (out.weight @ embedding.T).T  # (features, neurons)
    owner = view.order[module][: view.n_features]
    reads = (embedding @ parts.V)[range(view.n_features), owner]
    single = reads[:, None] * parts.U[owner]
    target = (embedding @ parts.weight) * back
    return target.flatten().cpu().numpy(), (single * back).flatten().detach().cpu().numpy()


def draw_marks(
    passed: Mapping[str, Mapping[str, float]],
    used: Mapping[str, float],
    by_program: Mapping[str, Mapping[str, float]],
) -> Figure:
    """Who passes what: `passed` by contestant and question is a share of programs, `used` the parts in use as a share of a
    random basis's, `by_program` how many of the questions are passed on each program (NaN: it was not taken).
    """
    who, questions = list(passed), list(next(iter(passed.values())))
    programs = list(next(iter(by_program.values())))
    figure, (left, right) = canvas(
        columns=2,
        width=3.4 + 0.5 * len(questions) + 0.3 * len(programs),
        height=1.7 + 0.3 * len(who),
        width_ratios=[len(questions) + 1, max(0.6 * len(programs), 2)],
        layout="constrained",
    )
    shares = np.array([[*passed[w].values(), np.nan] for w in who])
    words = [[*(f"{v:.0%}" for v in passed[w].values()), f"{used[w]:.0%}"] for w in who]
    draw_cells(left, shares, words, [f"{w}" for w in who], [*questions, "parts in use"])
    counts = np.array([[by_program[w][p] for p in programs] for w in who], float)
    texts = [[f"{by_program[w][p]:.0f}".replace("nan", "") for p in programs] for w in who]
    draw_cells(right, counts / len(questions), texts, [""] * len(who), programs)
    left.set_title("programs passed, by question", fontsize=8, loc="left")
    right.set_title(f"questions passed, of {len(questions)}", fontsize=8, loc="left")
    return figure


def draw_cells(
    axes: Axes,
    values: np.ndarray,
    words: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
) -> None:
    """A shaded table: values (rows, columns) from 0 to 1, NaN is left blank, with a word in each cell."""
    axes.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        color = "white" if value < 0.6 else "black"  # the map goes from dark to light; NaN is blank
        axes.text(j, i, words[i][j].replace("nan%", "-"), ha="center", va="center", fontsize=7, color=color)
    named = [column.replace("dead_", "dead sites ") for column in columns]
    axes.set_xticks(range(len(columns)), named, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.grid(False)

"""digsite from a notebook: `digsite.run("tms_5-2", steps=200)` does what the command line does and returns the run."""

from html import escape
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from digsite.base import settings
from digsite.base.errors import DigsiteError, UsageError
from digsite.record import find_run, list_statuses
from digsite.report import opened
from digsite.studies import find_study
from digsite.studies.find import Size
from digsite.studies.plan import plan_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from digsite.serve.views import View

__all__ = ["Run", "list_runs", "list_studies", "open_run", "run"]


ROWS = 20  # of a table that a notebook shows


class Run(opened.Run):
    """What `digsite.run` and `digsite.open_run` return; it reads the run directory and never writes."""

    @property
    def views(self) -> list[str]:
        """Names of what the run shows: masks, curves, graphs, tables."""
        from digsite.serve.views import views_of

        return [view.name for view in views_of(self.directory)]

    def view(self, name: str) -> "Shown":
        """One view by its name, as a picture in a notebook; `.data` are the numbers behind it."""
        from digsite.base.errors import NotFound, name_nearest
        from digsite.serve.views import views_of

        for declared in views_of(self.directory):
            if declared.name == name:
                return Shown(declared)
        raise NotFound(f"The run '{self.id}' has no view '{name}'. {name_nearest(name, self.views)}")


class Shown:
    """One view of a run, drawn without a server: nothing is fetched from anywhere and no script runs."""

    def __init__(self, view: "View") -> None:
        self.about = view

    @property
    def data(self) -> dict[str, Any]:
        """What the page of the run would draw."""
        from digsite.serve.views import read_view

        return read_view(self.about, {})

    def __repr__(self) -> str:
        return f"View({self.about.name}, {self.about.kind} of {self.about.source})"

    def _repr_html_(self) -> str:
        from digsite.figures.style import notebook_card

        view, data = self.about, self.data
        title = str(view.options.get("title") or view.name)
        facts = {"of": f"{view.run.path.parent.name}/{view.run.id}", "kind": view.kind}
        if isinstance(data.get("columns"), list):  # a table
            facts["rows"] = f"{data['total']}"
            return f"{notebook_card(title, facts)}{_table_of(data)}"
        figure = _draw_view(view, data)
        if figure is None:
            facts["open it"] = "digsite serve"
        return notebook_card(title, facts, figure)


def _draw_view(view: "View", data: dict[str, Any]) -> "Figure | None":
    """Curves, points, bins and matrices as a figure; what needs clicks has a page only."""
    draw = _DRAWN.get(view.kind)
    if draw is None:
        return None
    return draw(
        view, data, str(data.get("x_label") or ""), str(data.get("y_label") or data.get("unit") or "")
    )


def _draw_curve(view: "View", data: dict[str, Any], x: str, y: str) -> "Figure":
    from digsite import figures

    lines = {line["name"]: (line["x"], line["y"]) for line in data["lines"]}
    nulls = [line["name"] for line in data["lines"] if line.get("null")]
    if data.get("style") == "points":
        return figures.scatter(lines, x=x, y=y, nulls=nulls)
    logs = {"log_x": bool(data.get("log_x")), "log_y": bool(data.get("log_y"))}
    return figures.curves(lines, x=x, y=y, nulls=nulls, **logs)


def _draw_histogram(view: "View", data: dict[str, Any], x: str, y: str) -> "Figure":
    from digsite import figures

    centers = [(a + b) / 2 for a, b in pairwise(data["edges"])]
    lines = {name: (centers, counts) for name, counts in data["counts"].items()}
    return figures.curves(lines, x=x, y="count", nulls=["null"])


def _draw_matrix(view: "View", data: dict[str, Any], x: str, y: str) -> "Figure":
    from digsite import figures
    from digsite.serve.views.matrix import find_chosen

    pyramid = find_chosen(view, {})
    cells = pyramid.tile(pyramid.levels - 1, 0, 0)
    return figures.heatmap(
        cells, x=x or "column", y=str(data.get("y_label") or "row"), centered=data["low"] < 0
    )


_DRAWN = {"curve": _draw_curve, "histogram": _draw_histogram, "matrix": _draw_matrix}


def _table_of(data: dict[str, Any]) -> str:
    head = "".join(f"<th>{escape(str(name))}</th>" for name in data["columns"])
    rows = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in data["rows"][:ROWS])
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def run(
    study: str,
    *,
    size: Size = "full",
    runs: Path | str | None = None,
    device: str | None = None,
    studies: Path | str | None = None,
    overrides: tuple[str, ...] = (),
    **settings_: Any,
) -> Run:
    """Run a study with some settings changed; a setting may be named by the end of its path (`steps`).

    `study` is a name of `digsite list`, `size` which version of it, `runs` the folder that the run goes to,
    `device` as in torch or `auto`, `studies` a further folder of studies. `overrides` are texts as on the
    command line (`"lr=0.1"`), `settings_` the same by keyword.
    """
    from digsite.studies.plan import start_run
    from digsite.worker.execute import How, execute_run

    located = find_study(study, [Path(studies)] if studies else [])
    named = (f"{name.replace('__', '.')}={_typed(value)}" for name, value in settings_.items())
    changes = [*overrides, *named]
    directory = start_run(
        plan_run(located, size=size, overrides=changes), Path(runs) if runs else settings.runs_dir()
    )
    code = execute_run(directory, How(device or settings.default_device(), quiet=True))
    if code:
        again = f"; after mending the cause: digsite resume {directory.id}"
        raise DigsiteError(
            f"The run '{directory.id}' did not finish: {directory.status().message}",
            hint=f"Its folder is {directory.path}" + ("." if code == UsageError.exit_code else again),
        )
    from digsite.report import write_report

    write_report([directory], directory.report)
    return Run(directory)


def _typed(value: Any) -> str:
    """As it would be written on the command line."""
    from digsite.base.atomic import dump_json

    return str(value) if isinstance(value, Path) else dump_json(value)


def open_run(name: str = "last", *, runs: Path | str | None = None) -> Run:
    """A run by path, id, a part of its id, or `last`.

    `name` says which, `runs` is the folder of runs; without one DIGSITE_HOME, or ./runs.
    """
    return Run(find_run(name, Path(runs) if runs else settings.runs_dir()))


def list_runs(root: Path | str | None = None) -> list[Run]:
    """Every run, newest first.

    `root` is the folder of runs; without one DIGSITE_HOME, or ./runs.
    """
    return [Run(directory) for directory, _ in list_statuses(Path(root) if root else settings.runs_dir())]


def list_studies() -> dict[str, str]:
    """Names of the studies with the question that each answers."""
    from digsite.studies import all_studies

    return {name: study.purpose for name, study in all_studies().items()}

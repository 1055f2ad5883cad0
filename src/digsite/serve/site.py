"""What every page needs: the runs folder, its index, the templates."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from digsite.base import atomic
from digsite.record.layout import RunDir
from digsite.report.page import make_environment
from digsite.serve import places
from digsite.serve.index import Index
from digsite.serve.query import CLAIM

HERE = Path(__file__).parent
READ = "/read"  # the one page that takes a file


@dataclass(frozen=True)
class Site:
    root: Path
    index: Index
    templates: Environment
    may_write: bool = False  # marks and the trash; results never
    form_token: str = ""  # stands in every form of ours
    list_studies: Callable[[str], list[dict[str, Any]]] | None = (
        None  # what could be run, told by whoever starts us
    )
    read_checkpoint: Callable[[Path], dict[str, Any]] | None = None  # what weights say, told by the same
    reading: Lock = field(default_factory=Lock)  # one checkpoint at a time

    @classmethod
    def open_site(
        cls,
        root: Path,
        may_write: bool = False,
        list_studies: Callable[[str], list[dict[str, Any]]] | None = None,
        read_checkpoint: Callable[[Path], dict[str, Any]] | None = None,
    ) -> "Site":
        templates, token = make_environment(HERE / "templates"), secrets.token_urlsafe(24)
        templates.tests["match_claim"] = lambda name: name.startswith(CLAIM)
        templates.tests["match_said"] = lambda name: "/said/" in name
        has = {"has_studies": list_studies is not None, "has_reader": read_checkpoint is not None}
        templates.globals.update(may_write=may_write, form_token=token, **has)
        return cls(root, Index(root), templates, may_write, token, list_studies, read_checkpoint)

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(self.templates.get_template(template).render(**values), status)


def site_of(request: Request) -> Site:
    return request.app.state.site


def run_of(request: Request) -> RunDir:
    """The run that the address names, or 404."""
    names = request.path_params
    return places.find_run_folder(site_of(request).root, names["study"], names["id"])


def answer_json(value: Any, status: int = 200) -> Response:
    """The JSON of the command line: NaN and infinities are null."""
    return Response(atomic.dump_json(value), status, media_type="application/json")

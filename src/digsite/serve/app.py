"""The application: pages found by scanning, wrapped in the fence."""

import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from digsite.base import families
from digsite.base.errors import DigsiteError
from digsite.serve.security import LOOPBACK, Fence
from digsite.serve.site import READ, Site, answer_json, site_of

THREADS = 4  # pages are quick and memory matters: every thread keeps its own heap


def build_app(
    root: Path,
    *,
    hosts: frozenset[str] = LOOPBACK,
    token: str | None = None,
    may_write: bool = False,
    list_studies: Callable[[str], list[dict[str, Any]]] | None = None,
    read_checkpoint: Callable[[Path], dict[str, Any]] | None = None,
) -> ASGIApp:
    """The dashboard over `root`; pass a token whenever it is bound to more than loopback.

    `may_write`: visitors may change marks and bring runs back from the trash. Without it no run can be changed.
    `list_studies` gives a record per study that could be run (question, room, command), for the page of studies; of a name, that study
    alone with its settings.
    `read_checkpoint` answers for a file of weights as `digsite read --json` does, for the page that takes one.

    `hosts` are the names under which visitors may call: a page of somebody else's cannot be pointed here by its
    DNS.
    """
    pages = families.scan_family("digsite.serve.pages").values()
    taken = frozenset({READ}) if read_checkpoint else frozenset()
    app = Starlette(
        routes=[route for page in pages for route in _allowed(page.routes, may_write, taken)],
        exception_handlers={
            HTTPException: _http_error,
            DigsiteError: _user_error,
            OSError: _system_error,
            Exception: _our_error,
        },
        lifespan=_limit_threads,
    )
    app.state.site = _warm_site(Site.open_site(root, may_write, list_studies, read_checkpoint))
    return Fence(app, hosts=hosts, token=token, may_write=may_write, taken=taken)


def _allowed(routes: list[Route], may_write: bool, taken: frozenset[str]) -> list[Route]:
    """The routes of a page: those that change something exist only where that was asked for."""
    return [route for route in routes if may_write or route.methods == {"GET", "HEAD"} or route.path in taken]


@asynccontextmanager
async def _limit_threads(app: Starlette) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


def _warm_site(here: Site) -> Site:
    """What the first visitor would wait for is done before the address is printed."""
    here.index.entries()
    here.index.start_reading()
    for name in here.templates.list_templates():
        here.templates.get_template(name)
    return here


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = {404: "There is nothing here.", 400: "That cannot be shown."}.get(error.status_code, "")
    detail = error.detail if error.detail not in ("Not Found", "Bad Request") else ""
    return _answer_error(request, error.status_code, detail or said or error.detail)


def _user_error(request: Request, error: Exception) -> Response:
    return _answer_error(request, 400, str(error))


def _system_error(request: Request, error: Exception) -> Response:
    """What vanished while it was looked at is not there; a system without a free descriptor is asked again later."""
    assert isinstance(error, OSError)
    if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        return _answer_error(request, 503, "This machine is at its limits. Try again in a moment.")
    return _answer_error(request, 404, "This is not there any more, or it cannot be read.")


def _our_error(request: Request, error: Exception) -> Response:
    """A broken file in a run must not take the dashboard down; the traceback goes to the terminal."""
    return _answer_error(
        request, 500, f"This page failed: {type(error).__name__}. The terminal has the traceback."
    )


def _answer_error(request: Request, status: int, message: str) -> Response:
    if request.url.path.startswith("/api/"):
        return answer_json({"error": message}, status)
    return site_of(request).page("error.html", status, message=message, code=status)

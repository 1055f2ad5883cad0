"""What could be run: every study by room, and one with its settings and the command to copy."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from digsite.serve.site import site_of


def show_studies(request: Request) -> Response:
    """The studies by room, each with its question and its command."""
    rooms: dict[str, list[dict]] = {}
    for study in _known_studies(request):
        rooms.setdefault(study["room"], []).append(study)
    return site_of(request).page("studies.html", rooms=rooms, here="studies")


def show_study(request: Request) -> Response:
    """One study: what is written about it, and every setting with type, value, range and text."""
    name = request.path_params["name"]
    for study in _known_studies(request):
        if study["study"] == name:
            return site_of(request).page("study.html", study=study, here="studies")
    raise HTTPException(404, "There is no such study.")


def _known_studies(request: Request) -> list[dict]:
    known = site_of(request).list_studies
    if known is None:
        raise HTTPException(404, "This server was not told of the studies.")
    return known()


routes = [Route("/studies", show_studies), Route("/studies/{name}", show_study)]

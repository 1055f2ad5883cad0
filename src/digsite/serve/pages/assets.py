"""Scripts and styles, ours and the vendored ones; nothing comes from another host."""

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from digsite.report.page import LOOK
from digsite.serve import places
from digsite.serve.site import HERE

ASSETS = HERE / "assets"
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def asset(request: Request) -> Response:
    name = request.path_params["path"]
    path = LOOK if name == "look.css" else places.file(ASSETS, name)
    return FileResponse(
        path, media_type=KINDS.get(path.suffix, "text/plain"), headers={"cache-control": "max-age=60"}
    )


routes = [Route("/assets/{path:path}", asset)]

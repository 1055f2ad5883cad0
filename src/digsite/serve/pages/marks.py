"""What visitors may change under `digsite serve --write`: tags, notes and stars of runs, and runs brought back from the trash.

Plain forms, so that they work without scripts; each carries a token of this server, so that no other page can send one.
"""

from secrets import compare_digest
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from digsite.record.listing import list_trash, restore_run
from digsite.record.marks import as_record, change_marks
from digsite.serve.site import answer_json, run_of, site_of

BODY = 40_000  # bytes of a form


async def _read_form(request: Request) -> dict[str, str]:
    """The fields of a form that this server's own page has sent, told by the token that stands in it."""
    size = request.headers.get("content-length", "")
    body = await request.body() if size.isdigit() and int(size) <= BODY else None
    if body is None or len(body) > BODY:
        raise HTTPException(413, f"A form has at most {BODY:,} bytes.")
    form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=20))
    if not compare_digest(form.get("form", "").encode(), site_of(request).form_token.encode()):
        raise HTTPException(403, "Only pages of this server may change marks. Open the page again.")
    return form


async def save_marks(request: Request) -> Response:
    """Tags as one line with commas, the note, the star; a field that is not sent stays as it is."""
    form, run = await _read_form(request), run_of(request)
    add = [tag for tag in form.get("add", "").split(",") if tag.strip()]
    remove = [tag for tag in form.get("remove", "").split(",") if tag.strip()]
    star = None if "star" not in form else form["star"] == "1"
    marks = change_marks(run, add=add, remove=remove, note=form.get("note"), star=star)
    if "application/json" in request.headers.get("accept", ""):
        return answer_json(as_record(marks))
    return RedirectResponse(f"/runs/{run.path.parent.name}/{run.id}#marks", 303)


def show_trash(request: Request) -> Response:
    """What was thrown away, with the way back."""
    here = site_of(request)
    return here.page("trash.html", thrown=list_trash(here.root), here="runs")


async def take_back(request: Request) -> Response:
    """One run out of the trash."""
    form, here = await _read_form(request), site_of(request)
    restore_run(form.get("run", ""), here.root)
    return RedirectResponse("/trash", 303)


routes = [
    Route("/runs/{study}/{id}/marks", save_marks, methods=["POST"]),
    Route("/trash", show_trash),
    Route("/trash", take_back, methods=["POST"]),
]

"""A checkpoint dropped into the page is read and answered; nothing of it is kept, and no run changes.

One plain form with one file, so that it works without scripts. Only a page of this server can send it (its token stands in
the address of the form), one at a time, of bounded size; whoever reads does so in a process of its own.
"""

import re
from contextlib import ExitStack
from pathlib import Path
from secrets import compare_digest
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from digsite.base.errors import DigsiteError, UsageError
from digsite.serve.site import READ, site_of

LARGEST = 512 * 2**20  # bytes of a checkpoint; larger ones are read by the command
UPLOAD_S = 300.0  # for all of a file to arrive
HEAD = 8192  # bytes before the file begins
SUFFIXES = (".safetensors", ".npz", ".npy", ".pt", ".pth", ".bin", ".gguf", ".onnx")
_FORM = re.compile(r"multipart/form-data\s*;\s*boundary=\"?([\w'()+,./:=?-]{1,70})\"?", re.ASCII)
_NAME = re.compile(rb'filename="([^"\r\n]*)"')


def show_form(request: Request) -> Response:
    return _answer(request)


async def read_upload(request: Request) -> Response:
    """The answers to one checkpoint, or one sentence on why there are none, above the form again."""
    here = site_of(request)
    if not compare_digest(request.query_params.get("form", "").encode(), here.form_token.encode()):
        raise HTTPException(403, "Only pages of this server may send a checkpoint. Open the page again.")
    if not here.reading.acquire(blocking=False):
        return _answer(request, 503, refused="Another checkpoint is being read. Try again in a moment.")
    try:
        with TemporaryDirectory(prefix="digsite-read-") as folder:
            with anyio.fail_after(UPLOAD_S):
                path = await _store_upload(request, Path(folder))
            answer = await anyio.to_thread.run_sync(_reader_of(request), path)
        return _answer(request, found=answer, name=path.name)
    except TimeoutError:
        return _answer(request, 408, refused=f"The file did not arrive within {UPLOAD_S:.0f} s.")
    except ClientDisconnect:
        return Response(status_code=400)  # nobody is there to read it
    except HTTPException as error:
        return _answer(request, error.status_code, refused=error.detail)
    except DigsiteError as error:
        return _answer(request, 400, refused=str(error))
    finally:
        here.reading.release()


def _reader_of(request: Request) -> Any:
    if (reader := site_of(request).read_checkpoint) is None:
        raise HTTPException(404, "This server reads no checkpoints.")
    return reader


def _answer(request: Request, status: int = 200, **values: Any) -> Response:
    _reader_of(request)
    about = {
        "largest": LARGEST,
        "suffixes": SUFFIXES,
        "here": "read",
        "found": None,
        "name": "",
        "refused": "",
    }
    return site_of(request).page("read.html", status, **{**about, **values})


async def _store_upload(request: Request, folder: Path) -> Path:
    """The one file of a form, streamed to disk: what stands before and after it is cut off."""
    form = _FORM.fullmatch(request.headers.get("content-type", "").strip())
    if form is None:
        raise HTTPException(400, "Send one file, as the form of this page does.")
    length = request.headers.get("content-length", "")
    if length.isdigit() and len(length) < 20 and int(length) > LARGEST + HEAD:
        raise HTTPException(413, _too_large())
    head, size, path = b"", 0, None
    with ExitStack() as opened:
        file = None
        async for piece in request.stream():
            size += len(piece)
            if size > LARGEST + HEAD:
                raise HTTPException(413, _too_large())
            if file is None:
                head += piece
                before, begun, piece = head.partition(b"\r\n\r\n")
                if not begun:
                    if len(head) > HEAD:
                        raise HTTPException(400, "Send one file, as the form of this page does.")
                    continue
                path = folder / _legal_name(before)
                file = opened.enter_context(path.open("wb"))
            file.write(piece)
    if path is None:
        raise UsageError("Choose a file first.")
    _cut_end(path, f"\r\n--{form[1]}--".encode())
    return path


def _too_large() -> str:
    return (
        f"A page takes checkpoints of at most {LARGEST >> 20} MB; a larger one is read by: digsite read FILE"
    )


def _legal_name(head: bytes) -> str:
    """The file's own name as far as it is harmless; its ending says what it is."""
    match = _NAME.search(head)
    said = match[1].decode(errors="replace").replace("\\", "/").rpartition("/")[2] if match else ""
    name = re.sub(r"[^\w.-]", "_", said, flags=re.ASCII)[-80:].lstrip(".-")
    if not name:
        raise UsageError("Choose a file first.")
    if not name.lower().endswith(SUFFIXES):
        raise UsageError(f"'{name}' is no checkpoint that can be read here: {', '.join(SUFFIXES)}.")
    return name


def _cut_end(path: Path, mark: bytes) -> None:
    """A form ends in its own mark; a file without it did not arrive whole."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - len(mark) - 2))
        end = file.read()
        at = end.rfind(mark)
        if at < 0 or end[at + len(mark) :] not in (b"", b"\r\n"):
            raise UsageError("The file did not arrive whole.")
        file.truncate(max(0, size - len(mark) - 2) + at)
        if file.seek(0, 2) == 0:
            raise UsageError(f"'{path.name}' is empty.")


routes = [Route(READ, show_form), Route(READ, read_upload, methods=["POST"])]

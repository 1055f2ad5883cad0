"""Bind, announce, serve until Ctrl-C."""

import asyncio
import contextlib
import errno
import socket
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from digsite.base.errors import UsageError
from digsite.serve.app import build_app
from digsite.serve.security import LOOPBACK

__all__ = ["LOOPBACK", "serve_folder"]

MOST = 200  # visitors at once
WAITING = 128  # visitors whom the system keeps until they are accepted
OWN = 32  # descriptors of the server itself and of the pages being read
SILENCE_S = 10.0  # from a connection to its first request
TELL_EVERY_S = 60.0
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def serve_folder(
    root: Path,
    *,
    host: str,
    port: int,
    names: Sequence[str] = (),
    token: str | None = None,
    may_write: bool = False,
    list_studies: Callable[[str], list[dict[str, Any]]] | None = None,
    read_checkpoint: Callable[[Path], dict[str, Any]] | None = None,
    ready: Callable[[str], None],
) -> None:
    """Serve the runs below `root` until Ctrl-C; `ready` is called with the address. The rest as in `build_app`."""
    bound = _bind_socket(host, port)
    hosts = LOOPBACK | {host, *(name.lower() for name in names)}
    if token:
        hosts |= {socket.gethostname().lower()}
    server = _Server(
        uvicorn.Config(
            build_app(
                root,
                hosts=frozenset(hosts),
                token=token,
                may_write=may_write,
                list_studies=list_studies,
                read_checkpoint=read_checkpoint,
            ),
            http=_Impatient,
            log_level="error",
            backlog=WAITING,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,  # event streams never end by themselves
            ws="none",
        )
    )
    ready(_say_address(bound, host, token))
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after a clean shutdown
        server.run(sockets=[bound])


class _Server(uvicorn.Server):
    """Says once that descriptors have run out, and not two thousand times a second with a traceback each."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_Rarely())
        await super().startup(sockets)


class _Rarely:
    """What the loop reports: an accept that the system refused at most once a minute, and everything else as ever."""

    def __init__(self) -> None:
        self._told = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _EXHAUSTED:
            loop.default_exception_handler(context)
        elif loop.time() - self._told >= TELL_EVERY_S:
            self._told = loop.time()
            sys.stderr.write(f"digsite: no more visitors for the moment ({error.strerror}).\n")


class _Impatient(H11Protocol):
    """Lets go of a visitor who connects and says nothing: such connections hold a descriptor each, and never end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        if len(self.connections) > _most_connections():
            return transport.abort()  # the descriptor goes back at once: pages need some to read files with
        self.loop.call_later(SILENCE_S, self._leave_silent)

    def _leave_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


@cache
def _most_connections() -> int:
    """As many visitors at once as descriptors allow beside the files that a page opens; one more is hung up on."""
    try:
        import resource
    except ImportError:
        return MOST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wished = min(hard, 4096) if hard != resource.RLIM_INFINITY else 4096
    if soft < wished:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wished, hard))
            soft = wished
    return max(4, min(MOST, soft - OWN))


def _bind_socket(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.ExitStack() as undo:
            bound = undo.enter_context(socket.socket(family))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(WAITING)  # whoever is quicker than the server waits instead of being refused
            undo.pop_all()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"Cannot listen on '{host}' port {port}: {reason}.",
            hint="Take a free port: digsite serve --port 0",
        ) from None
    return bound


def _say_address(bound: socket.socket, host: str, token: str | None) -> str:
    shown = f"[{host}]" if ":" in host else socket.gethostname() if host == "0.0.0.0" else host
    query = f"/?token={token}" if token else "/"
    return f"http://{shown}:{bound.getsockname()[1]}{query}"

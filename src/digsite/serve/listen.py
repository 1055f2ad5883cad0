"""Bind, announce, serve until Ctrl-C."""

import contextlib
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn

from digsite.base.errors import UsageError
from digsite.serve.app import build
from digsite.serve.security import LOOPBACK

__all__ = ["LOOPBACK", "listen"]


def listen(
    root: Path,
    *,
    host: str,
    port: int,
    names: Sequence[str] = (),
    token: str | None = None,
    ready: Callable[[str], None],
) -> None:
    bound = _bind(host, port)
    hosts = LOOPBACK | {host, *(name.lower() for name in names)}
    if token:
        hosts |= {socket.gethostname().lower()}
    server = uvicorn.Server(
        uvicorn.Config(
            build(root, hosts=frozenset(hosts), token=token),
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,  # event streams never end by themselves
            ws="none",
        )
    )
    ready(_address(bound, host, token))
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after a clean shutdown
        server.run(sockets=[bound])


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with contextlib.ExitStack() as undo:
            bound = undo.enter_context(socket.socket(family))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(128)  # whoever is quicker than the server waits instead of being refused
            undo.pop_all()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(
            f"Cannot listen on '{host}' port {port}: {reason}.",
            hint="Take a free port: digsite serve --port 0",
        ) from None
    return bound


def _address(bound: socket.socket, host: str, token: str | None) -> str:
    shown = f"[{host}]" if ":" in host else socket.gethostname() if host == "0.0.0.0" else host
    query = f"/?token={token}" if token else "/"
    return f"http://{shown}:{bound.getsockname()[1]}{query}"

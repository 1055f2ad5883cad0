"""digsite serve"""

import secrets
from pathlib import Path

import click

from digsite.cli._options import runs_option


@click.command("serve")
@click.option(
    "--port", default=8477, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one."
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; anything but loopback asks visitors for a random token.",
)
@click.option("--allow-host", multiple=True, metavar="NAME", help="Another name that this server goes by.")
@click.option(
    "--token", "with_token", is_flag=True, help="Ask for a token on loopback too (shared machines)."
)
@runs_option
def serve_command(port: int, host: str, allow_host: tuple[str, ...], with_token: bool, root: Path) -> None:
    """A dashboard over every run, in the browser; it reads and never writes."""
    from digsite.serve.listen import LOOPBACK, serve_folder

    token = secrets.token_urlsafe(24) if with_token or host not in LOOPBACK else None

    def say_address(address: str) -> None:
        click.echo(f"digsite serves '{root}' at {address}  (Ctrl-C ends it)")

    serve_folder(root, host=host, port=port, names=allow_host, token=token, ready=say_address)

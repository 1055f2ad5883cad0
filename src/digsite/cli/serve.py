"""digsite serve"""

import json
import os
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import click

from digsite.base.errors import DigsiteError, UsageError
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
@click.option(
    "--write",
    "may_write",
    is_flag=True,
    help="Visitors may set tags, notes and stars, and restore from the trash.",
)
@runs_option
def serve_command(
    port: int, host: str, allow_host: tuple[str, ...], with_token: bool, may_write: bool, root: Path
) -> None:
    """A dashboard over every run, in the browser; no run is changed, unless --write allows marks."""
    import secrets

    from digsite.serve.listen import LOOPBACK, serve_folder

    token = secrets.token_urlsafe(24) if with_token or host not in LOOPBACK else None

    def say_address(address: str) -> None:
        click.echo(f"digsite serves '{root}' at {address}  (Ctrl-C ends it)")

    serve_folder(
        root,
        host=host,
        port=port,
        names=allow_host,
        token=token,
        may_write=may_write,
        list_studies=_list_studies,
        read_checkpoint=_read_checkpoint,
        ready=say_address,
    )


@cache
def _list_studies(name: str) -> list[dict[str, Any]]:
    """Every study in brief, read from its YAML here; or the one of this name with its settings, if there is one.

    Planning some studies loads PyTorch, a dashboard never does: settings come from a process of their own. Nor could it be
    loaded half: an import that fails on the way, for want of a descriptor, cannot be tried again.
    """
    import subprocess

    from digsite.studies import all_studies
    from digsite.studies.settings import brief_study

    known = all_studies()
    if not name:
        return [brief_study(study) for study in known.values()]
    if name not in known:
        return []
    command = [
        sys.executable,
        "-c",
        "from digsite.cli.serve import print_study as p; import sys; p(sys.argv[1])",
        name,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise DigsiteError(
            f"The settings of '{name}' could not be read: {reason}.", hint=f"Look at: digsite info {name}"
        )
    return [json.loads(done.stdout)]


READ_S = 300  # for one checkpoint of a visitor
READ_BYTES = 6 * 2**30  # of memory, for the same
READ_BY = "import sys; from digsite.cli.serve import read_bounded; read_bounded(sys.argv[1])"


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """As `digsite read PATH --json`, in a process of its own: what a file makes it do ends there, in memory and time."""
    import subprocess  # `--help` imports this file, and this would be a tenth of its time

    by_hand = "On the command line: digsite read FILE."
    try:
        done = subprocess.run(
            [sys.executable, "-c", READ_BY, path.name],
            capture_output=True,
            text=True,
            errors="replace",
            cwd=path.parent,
            env={**os.environ, "DIGSITE_OFFLINE": "1"},
            timeout=READ_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"'{path.name}' was not read within {READ_S} s.", hint=by_hand) from None
    if done.returncode == 0:
        return json.loads(done.stdout)
    refused = [line for line in done.stderr.splitlines() if line.startswith("digsite: ")]
    if refused:
        raise UsageError(refused[-1].removeprefix("digsite: "))
    raise UsageError(
        f"'{path.name}' could not be read within {READ_BYTES >> 30} GB of memory, or its reader failed.",
        hint=by_hand,
    )


def read_bounded(name: str) -> None:
    """What `_read_checkpoint` starts: the verb, after this process has bound itself."""
    from digsite.cli import main

    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (READ_BYTES, READ_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.argv = ["digsite", "read", name, "--json", "--runs", "runs"]
    main()


def print_study(name: str) -> None:
    """One JSON document of one study with its settings."""
    from digsite.studies import find_study
    from digsite.studies.settings import describe_study

    click.echo(json.dumps(describe_study(find_study(name))))

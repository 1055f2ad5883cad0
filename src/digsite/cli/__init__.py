"""The command line: verbs are found in the files of this folder; a verb imports what it needs when it is called.

A verb is a function under `@click.command("name")` or `@click.group("name")` at the top of a file; a file holds the verbs of one
subject. Which file has which verb is read from the text of the files, so that `digsite ls` imports one of them and not all.
"""

import errno
import importlib
import io
import re
import sys
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from digsite.base import settings
from digsite.base.errors import DigsiteError, name_nearest
from digsite.base.settings import read_version

# A verb at the top of a file, what its decorator says beside the name, and the docstring of its function.
_VERB = re.compile(
    r'^@click\.(?:command|group)\("([\w-]+)"([^\n]*)$(?:(?!^def ).)*^def \w+\(.*?^    """(.*?)"""',
    re.M | re.S,
)


@dataclass(frozen=True)
class Verb:
    """What the text of a file says about one verb, read without importing it: a help of all verbs needs no more."""

    file: str
    help: str
    hidden: bool


@cache
def find_verbs() -> dict[str, Verb]:
    """The verbs of this folder; a file that begins with an underscore has none."""
    files = sorted(path for path in Path(__file__).parent.glob("*.py") if not path.name.startswith("_"))
    return {
        name: Verb(path.stem, text, "hidden=True" in options)
        for path in files
        for name, options, text in _VERB.findall(path.read_text(encoding="utf-8"))
    }


class _Verbs(click.Group):
    """Loads only the verb that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(find_verbs())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in find_verbs():
            return None
        module = importlib.import_module(f"digsite.cli.{find_verbs()[cmd_name].file}")
        return next(c for c in vars(module).values() if isinstance(c, click.Command) and c.name == cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """By what a person wants to do; a verb that no section names stands under the last one."""
        left = [name for name in self.list_commands(ctx) if not find_verbs()[name].hidden]
        width = max(map(len, left))
        for heading, names in {**SECTIONS, "And": left}.items():
            own = [name for name in names if name in left]
            left = [name for name in left if name not in own]
            rows = [(name.ljust(width), _say_verb(name, formatter.width - width - 6)) for name in own]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def resolve_command(self, ctx: click.Context, args: list[str]):
        """`help VERB` is `VERB --help`, and words that other tools have are answered with the verb that does it here."""
        if args and args[0] == "help":
            if len(args) == 1:
                click.echo(ctx.get_help())
                ctx.exit()
            args = [args[1], "--help"]
        if args and args[0] in ELSEWHERE:
            raise click.UsageError(f"There is no verb '{args[0]}'. {ELSEWHERE[args[0]]}")
        if args and args[0] not in find_verbs() and not args[0].startswith("-"):
            raise click.UsageError(f"There is no verb '{args[0]}'. {name_nearest(args[0], find_verbs())}")
        return super().resolve_command(ctx, args)


def _say_verb(name: str, limit: int) -> str:
    return click.Command(name, help=find_verbs()[name].help).get_short_help_str(limit)


ELSEWHERE = {
    "compare": "Runs stand beside each other in: digsite report RUN RUN; or tick them on the page of digsite serve.",
    "runs": "Runs are listed by: digsite ls",
    "studies": "Studies are listed by: digsite list",
}
SECTIONS = {
    "Your own model": ("dig", "read", "prune", "decompose", "track", "graft"),
    "Studies": ("demo", "list", "info", "run", "resume", "sweep", "exam", "zoo", "config", "describe"),
    "Runs": ("ls", "show", "report", "serve", "tag", "note", "rm", "restore"),
    "Share": ("publish", "mirror", "card", "push"),
}


def _say_version(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"digsite, version {read_version()}")
        ctx.exit()


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_say_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Open a neural network and see what is inside, each answer beside its null.

    Start with `digsite demo`, then `digsite list`.
    """


def main() -> None:
    """Every user error ends here as one sentence and the right exit code."""
    if settings.is_offline():
        settings.go_offline()
    for stream in (sys.stdout, sys.stderr):  # a name that no terminal can show must not end what shows it
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = _say_warning
    try:
        sys.exit(cli.main(prog_name="digsite", standalone_mode=False) or 0)
    except DigsiteError as error:
        _end_with(error.message, error.hint, error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        hint = (
            f"Help: {error.ctx.command_path} --help"
            if isinstance(error, click.UsageError) and error.ctx
            else ""
        )
        _end_with(error.format_message(), hint, error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        _end_with(*_explain_refusal(error))


def _say_warning(message: Warning | str, *_where: object, **_line: object) -> str:
    """A sentence, without the line of ours that it was said on."""
    return f"digsite: {message}\n"


def _explain_refusal(error: OSError) -> tuple[str, str, int]:
    """What the system said no to: sentence, hint and exit code."""
    if error.errno == errno.ENOSPC:
        return "The disk is full; what was written before is whole.", "Free some space and try again.", 1
    name = str(error.filename)[:300]
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"No permission for '{name}'.", "", 2
    where = f" '{name}'" if error.filename is not None else ""
    return f"The system refused{where}: {error.strerror or error}.", "", 2


def _end_with(message: str, hint: str, code: int) -> None:
    click.echo(f"digsite: {message}", err=True)
    if hint:
        click.echo(f"  {hint}", err=True)
    sys.exit(code)

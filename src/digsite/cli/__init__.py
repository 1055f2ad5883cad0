"""The command line: one file per verb, found by scanning; a verb imports what it needs when it is called."""

import errno
import importlib
import io
import sys

import click

from digsite.base import families, settings
from digsite.base.errors import DigsiteError, name_nearest
from digsite.base.version import __version__


class _Verbs(click.Group):
    """Loads only the verb that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return families.list_members("digsite.cli")

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        return importlib.import_module(f"digsite.cli.{cmd_name}").command

    def resolve_command(self, ctx: click.Context, args: list[str]):
        if args and args[0] not in self.list_commands(ctx) and not args[0].startswith("-"):
            raise click.UsageError(
                f"There is no verb '{args[0]}'. {name_nearest(args[0], self.list_commands(ctx))}"
            )
        return super().resolve_command(ctx, args)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="digsite")
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
    try:
        sys.exit(cli.main(prog_name="digsite", standalone_mode=False) or 0)
    except DigsiteError as error:
        _fail(error.message, error.hint, error.exit_code)
    except click.ClickException as error:
        hint = (
            f"Help: {error.ctx.command_path} --help"
            if isinstance(error, click.UsageError) and error.ctx
            else ""
        )
        _fail(error.format_message(), hint, error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        _fail(*_refused(error))


def _refused(error: OSError) -> tuple[str, str, int]:
    """What the system said no to: sentence, hint and exit code."""
    if error.errno == errno.ENOSPC:
        return "The disk is full; what was written before is whole.", "Free some space and try again.", 1
    name = str(error.filename)[:300]
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"No permission for '{name}'.", "", 2
    where = f" '{name}'" if error.filename is not None else ""
    return f"The system refused{where}: {error.strerror or error}.", "", 2


def _fail(message: str, hint: str, code: int) -> None:
    click.echo(f"digsite: {message}", err=True)
    if hint:
        click.echo(f"  {hint}", err=True)
    sys.exit(code)

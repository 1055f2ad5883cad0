"""digsite completion bash|zsh|fish"""

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell):
    """Print the completion script: eval "$(digsite completion bash)"."""
    from digsite.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "digsite", "_DIGSITE_COMPLETE").source())

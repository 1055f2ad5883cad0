"""digsite exam --contestant py:mine:method"""

import click

from digsite.cli._options import device_option, runs_option


@click.command("exam")
@click.argument("overrides", nargs=-1, metavar="[key.path=value ...]")
@click.option(
    "--contestant",
    "contestants",
    multiple=True,
    metavar="NAME",
    help="Who sits it: py:module:function for a method of your own, or a name; may be given several times. "
    "None: all that are shipped.",
)
@click.option(
    "--programs", default="", metavar="NAMES", help="Programs, comma separated; `named` or `all` too."
)
@click.option("--quick", "size", flag_value="quick", help="One rotation and short training.")
@runs_option
@device_option
def command(overrides, contestants, programs, size, root, device):
    """Score ways of taking a transformer apart against compiled programs whose truth is known.

    A method of your own is a function of (model, batches, sites, seed) that gives {site: (V, U)}, or that and a function
    from token numbers to importances. It is scored beside singular vectors and random directions. See docs/exam.md.
    """
    from digsite.cli import run

    given = []
    if contestants:
        names = dict.fromkeys([*contestants, "singular", "random"])
        given.append(f"contestants=[{', '.join(map(repr, names))}]")
    if programs:
        given.append(f"programs=[{', '.join(map(repr, programs.split(',')))}]")
    click.get_current_context().invoke(
        run.command,
        studies="exam-decompose",
        overrides=(*given, *overrides),
        size=size,
        root=root,
        device=device,
    )

"""digsite decompose MODEL"""

import click

from digsite.cli._options import device_option, runs_option


@click.command("decompose")
@click.argument("model", metavar="MODEL")
@click.argument("overrides", nargs=-1, metavar="[key.path=value ...]")
@click.option(
    "--modules",
    required=True,
    metavar="PATTERNS",
    help="Modules to decompose: names or patterns, comma separated.",
)
@click.option(
    "--data",
    default="gaussian",
    show_default=True,
    metavar="DATA",
    help="An image set, x.npy, py:module:name, gaussian or uniform.",
)
@click.option(
    "--text", default="", metavar="TEXT", help="A corpus or a text file, for models that read tokens."
)
@click.option("--quick", "size", flag_value="quick", help="Fewer steps: a first answer.")
@runs_option
@device_option
def command(model, overrides, modules, data, text, size, root, device):
    """Split weights of a model into simple parts, and learn which parts an input uses.

    MODEL is py:module:factory, file:PATH, zoo:NAME#123 or hub:org/name. Settings are key.path=value, such as
    decompose.C=50 decompose.steps=5000 seeds=2.
    """
    from digsite.cli import run
    from digsite.weights import refuse_missing

    refuse_missing(model)
    if text:
        data = f"text:{text}"
        if not any(word.startswith("decompose.compare=") for word in overrides):
            overrides = ("decompose.compare=kl", *overrides)
    given = [f"model={model}", f"modules=[{', '.join(map(repr, modules.split(',')))}]", f"data={data}"]
    click.get_current_context().invoke(
        run.command, studies="own_model", overrides=(*given, *overrides), size=size, root=root, device=device
    )

"""digsite graft DONOR RECEIVER, digsite graft --inspect MODEL"""

from dataclasses import asdict
from pathlib import Path

import click


def parse_classes(text: str) -> tuple[int, ...]:
    from digsite.base.errors import UsageError

    try:
        return tuple(int(c) for c in text.split(",") if c)
    except ValueError:
        raise UsageError(f"'{text}' is no list of classes.", hint="Write numbers: 0,1,2,3.") from None


@click.command("graft")
@click.argument("donor", required=False)
@click.argument("receiver", required=False)
@click.option(
    "--inspect", "inspected", metavar="MODEL", help="Say which rows look as if they came from elsewhere."
)
@click.option("--new-class", "new", default="4", show_default=True, help="What the receiver should learn.")
@click.option("--old", default="0,1,2,3", show_default=True, help="What the receiver knows.")
@click.option("--shared", default="2,3", show_default=True, help="What both know.")
@click.option("--foreign", default="5", show_default=True, help="What the donor alone knows and keeps.")
@click.option(
    "--method", default="union", show_default=True, help='A method with options: "ridge_all data=au".'
)
@click.option(
    "--data",
    default="",
    help="Image set by name, or FILE.npz of your own (x, y), for methods that need one and for the ledger.",
)
@click.option(
    "--pixels",
    type=click.Choice(["standard", "raw"]),
    default="standard",
    show_default=True,
    help="What the models eat: standardized pixels, or 0 to 1.",
)
@click.option(
    "--head", "heads", default=",", metavar="RECEIVER,DONOR", help="Names of the heads, where not the last."
)
@click.option("--calibrate", is_flag=True, help="Set one bias on the receiver's held-out images.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="A .safetensors file for the grafted model.")
def graft_command(
    donor, receiver, inspected, new, old, shared, foreign, method, data, pixels, heads, calibrate, seed, out
):
    """Move a class from DONOR into RECEIVER and print the ledger; or inspect a model for grafted rows."""
    from digsite.base.errors import UsageError
    from digsite.graft.subjects.checkpoints import open_classifier, write_grafted

    if inspected:
        return _print_inspection(open_classifier(inspected))
    if not donor or not receiver:
        raise UsageError(
            "A graft needs a donor and a receiver.", hint="digsite graft DONOR RECEIVER --out FILE"
        )
    from digsite.data import load
    from digsite.graft import Pair, graft
    from digsite.graft.core.task import split_images

    mine, _, theirs = heads.partition(",")
    pair = Pair(
        open_classifier(donor),
        open_classifier(receiver),
        parse_classes(old),
        parse_classes(shared),
        parse_classes(new),
        parse_classes(foreign),
        mine or None,
        theirs or None,
    )
    images = split_images(load(data), seed, standard=pixels == "standard") if data else None
    done = graft(pair, method, images, seed=seed, calibrate=calibrate)
    if done.ledger:
        from digsite.graft.judge.compare import say_gain

        click.echo(say_gain(done.ledger))
    for depth in done.ceiling:
        click.echo(f"ceiling at layer {depth.layer:<11}{depth.ceiling:.2f}")
    line = asdict(done.ledger) if done.ledger else {"method": method, "scored": False}
    for key, value in line.items():
        click.echo(f"{key:<28}{value:.2f}" if isinstance(value, float) else f"{key:<28}{value}")
    if out:
        click.echo(f"{'file':<28}{out}  ({write_grafted(out, done.model, line)})")


def _print_inspection(model) -> None:
    from digsite.graft import inspect

    for layer in inspect(model):
        rows = ", ".join(map(str, layer.flagged[:20])) + (" ..." if len(layer.flagged) > 20 else "")
        click.echo(
            f"{layer.name:<24}{len(layer.scores):>6} rows  {len(layer.flagged):>5} look foreign  {rows}"
        )

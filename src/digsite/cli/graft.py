"""digsite graft DONOR RECEIVER, digsite graft --inspect MODEL"""

from dataclasses import asdict
from pathlib import Path

import click

from digsite.cli._options import complete_member, complete_model, find_named_model, json_option, runs_option


def parse_classes(text: str) -> tuple[int, ...]:
    from digsite.base.errors import UsageError

    try:
        return tuple(int(c) for c in text.split(",") if c)
    except ValueError:
        raise UsageError(f"'{text}' is no list of classes.", hint="Write numbers: 0,1,2,3.") from None


@click.command("graft")
@click.argument("donor", required=False, callback=find_named_model, shell_complete=complete_model)
@click.argument("receiver", required=False, callback=find_named_model, shell_complete=complete_model)
@click.option(
    "--inspect", "inspected", metavar="MODEL", help="Say which rows look as if they came from elsewhere."
)
@click.option("--new-class", "new", default="4", show_default=True, help="What the receiver should learn.")
@click.option("--old", default="0,1,2,3", show_default=True, help="What the receiver knows.")
@click.option("--shared", default="2,3", show_default=True, help="What both know.")
@click.option("--foreign", default="5", show_default=True, help="What the donor alone knows and keeps.")
@click.option(
    "--method",
    default="union",
    show_default=True,
    shell_complete=complete_member("digsite.graft.core.methods"),
    help='A method with options: "ridge_all data=au".',
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
@runs_option
@json_option
def graft_command(
    donor,
    receiver,
    inspected,
    new,
    old,
    shared,
    foreign,
    method,
    data,
    pixels,
    heads,
    calibrate,
    seed,
    out,
    root,
    as_json,
):
    """Move a class from DONOR into RECEIVER and print the ledger; or inspect a model for grafted rows."""
    from digsite.base.errors import UsageError
    from digsite.graft.subjects.checkpoints import open_classifier

    if inspected:
        return _print_inspection(open_classifier(inspected), as_json)
    if not donor or not receiver:
        raise UsageError(
            "A graft needs a donor and a receiver.", hint="digsite graft DONOR RECEIVER --out FILE"
        )
    from digsite.data import load
    from digsite.graft import Pair, graft
    from digsite.graft.core.task import split_images

    receiver_head, _, donor_head = heads.partition(",")
    pair = Pair(
        open_classifier(donor),
        open_classifier(receiver),
        parse_classes(old),
        parse_classes(shared),
        parse_classes(new),
        parse_classes(foreign),
        receiver_head or None,
        donor_head or None,
    )
    images = split_images(load(data), seed, standard=pixels == "standard") if data else None
    done = graft(pair, method, images, seed=seed, calibrate=calibrate)
    answer, said = _print_graft(done, method, out, as_json)
    from digsite.cli._start import keep_answer

    keep_answer("graft", [donor, receiver], answer, said, root, quiet=as_json)


def _print_graft(done, method: str, out: Path | None, as_json: bool) -> tuple[dict, list[str]]:
    """The gain, the ceilings and the ledger, shown and given back; the model is kept where somebody asked for it."""
    from digsite.cli._print import print_json
    from digsite.graft.judge.compare import say_gain
    from digsite.graft.subjects.checkpoints import write_grafted

    line = asdict(done.ledger) if done.ledger else {"method": method, "scored": False}
    said = write_grafted(out, done.model, line) if out else ""
    ceilings = {depth.layer: depth.ceiling for depth in done.ceiling}
    answer = {**line, "ceiling": ceilings, **({"file": str(out), "kind": said} if out else {})}
    gain = [say_gain(done.ledger)] if done.ledger else ["No image was given, so nothing was scored."]
    if as_json:
        print_json(answer)
        return answer, gain
    if done.ledger:
        click.echo(gain[0])
    for depth in done.ceiling:
        click.echo(f"ceiling at layer {depth.layer:<11}{depth.ceiling:.2f}")
    for key, value in line.items():
        click.echo(f"{key:<28}{value:.2f}" if isinstance(value, float) else f"{key:<28}{value}")
    if out:
        click.echo(f"{'file':<28}{out}  ({said})")
    return answer, gain


def _print_inspection(model, as_json: bool) -> None:
    from digsite.cli._print import print_json
    from digsite.graft import inspect

    reports = inspect(model)
    if as_json:
        return print_json(
            [
                {"layer": report.name, "rows": len(report.scores), "flagged": list(report.flagged)}
                for report in reports
            ]
        )
    for layer in reports:
        rows = ", ".join(map(str, layer.flagged[:20])) + (" ..." if len(layer.flagged) > 20 else "")
        click.echo(
            f"{layer.name:<24}{len(layer.scores):>6} rows  {len(layer.flagged):>5} look foreign  {rows}"
        )

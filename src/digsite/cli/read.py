"""digsite read MODEL [OTHER]"""

import click

from digsite.cli._options import complete_model, find_named_model, json_option, runs_option

_ROWS = 12  # of a table: the four answers and the tables stay on one page


@click.command("read")
@click.argument("model", callback=find_named_model, shell_complete=complete_model)
@click.argument("other", required=False, callback=find_named_model, shell_complete=complete_model)
@click.option(
    "--reader", "reader_path", help="A saved reader; without one, the shipped reader of this shape."
)
@click.option(
    "--lineage", "wants_lineage", is_flag=True, help="MODEL is a folder of models: who was made from whom."
)
@click.option("--against", help="A folder of models: which of them is MODEL related to?")
@click.option("--figure", help="Draw the lineage to this file (png or svg).")
@runs_option
@json_option
def read_command(model, other, reader_path, wants_lineage, against, figure, root, as_json):
    """What a model's weights say: where from, what was done to it, is something planted, what it knows; layers, spectra.

    In brackets stands how sure an answer is, where that can be told: p is how often chance alone gives as much.

    With OTHER, what changed between two checkpoints. With --lineage, who in a folder was made from whom.
    """
    from digsite.base.errors import UsageError

    if wants_lineage and other:
        raise UsageError(f"--lineage takes one folder, and '{other}' is a second.")
    if reader_path and (other or wants_lineage):
        raise UsageError("--reader has no effect on a comparison of models.")
    if against and (other or wants_lineage):
        raise UsageError(
            "--against goes with one model: a comparison of two and a lineage have their own candidates."
        )
    from digsite.cli._start import keep_answer

    if wants_lineage:
        answer = _print_lineage(model, figure, as_json)
    elif other:
        answer = _print_difference(model, other, as_json)
    else:
        answer = _print_reading(model, reader_path, against, as_json)
    said = (
        [answer["what"], *(answered["answer"] for answered in answer["answers"])]
        if "answers" in answer
        else answer["notes"]
    )
    keep_answer("read", [name for name in (model, other) if name], answer, said, root, quiet=as_json)


def _print_reading(model, reader_path, against, as_json):
    from digsite.cli._print import print_json, print_table
    from digsite.read.api import read_model

    reading = read_model(model, reader_path, against)
    if as_json:
        print_json(reading)
        return reading
    for note in reading["notes"]:
        if note.startswith("not "):  # what was not understood, before any answer
            click.echo(note)
    click.echo(reading["what"])
    for answer in reading["answers"]:
        sure = f" [{answer['sureness']}]" if answer["sureness"] else ""
        click.echo(f"{answer['question']}{sure}\n  {answer['answer']}")
    click.echo("")
    for name, title in (("predictions", "what it says"), ("layers", "layers read"), ("skipped", "skipped")):
        if reading[name]:
            click.echo(title)
            shown = reading[name][:_ROWS]
            print_table(list(shown[0]), [[_format_cell(v) for v in row.values()] for row in shown])
            if len(reading[name]) > _ROWS:
                click.echo(f"and {len(reading[name]) - _ROWS} more, all of them with --json")
    click.echo("\n".join(note for note in reading["notes"] if not note.startswith("not ")))
    return reading


def _print_difference(first, second, as_json):
    from digsite.cli._print import print_json, print_table
    from digsite.read.api import compare_models

    difference = compare_models(first, second)
    if as_json:
        print_json(difference)
        return difference
    print_table(
        list(difference["layers"][0]),
        [[_format_cell(v) for v in row.values()] for row in difference["layers"]],
    )
    click.echo("\n".join(difference["notes"]))
    return difference


def _print_lineage(folder, figure, as_json):
    from digsite.cli._print import print_json, print_table
    from digsite.read.api import trace_folder

    lineage = trace_folder(folder, figure)
    if as_json:
        print_json(lineage)
        return lineage
    click.echo(lineage["tree"] + "\n")
    if lineage["edges"]:
        columns = list(lineage["edges"][0])
        print_table(columns, [[_format_cell(v) for v in edge.values()] for edge in lineage["edges"]])
    reasons = {}
    for pair in lineage["unrelated"]:
        reasons.setdefault(pair["reason"].split(":")[0], []).append(f"{pair['first']} and {pair['second']}")
    for reason, pairs in reasons.items():
        more = f" and {len(pairs) - 3} more" if len(pairs) > 3 else ""
        click.echo(f"unrelated ({reason}): {', '.join(pairs[:3])}{more}")
    for entry in lineage["left_out"]:
        click.echo(f"left out: {entry['file']}: {entry['reason']}")
    click.echo("\n".join(lineage["notes"]))
    return lineage


def _format_cell(value):
    return f"{value:.4g}" if isinstance(value, float) else value

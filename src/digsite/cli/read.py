"""digsite read MODEL [OTHER]"""

import click

from digsite.cli._options import complete_model, json_option, runs_option

_ROWS = 12  # of a table: the four answers and the tables stay on one page


@click.command("read")
@click.argument("model", shell_complete=complete_model)
@click.argument("other", required=False, shell_complete=complete_model)
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
        found = _print_lineage(model, figure, as_json)
    elif other:
        found = _print_difference(model, other, as_json)
    else:
        found = _print_reading(model, reader_path, against, as_json)
    said = (
        [found["what"], *(one["answer"] for one in found["answers"])]
        if "answers" in found
        else found["notes"]
    )
    keep_answer("read", [name for name in (model, other) if name], found, said, root, quiet=as_json)


def _print_reading(model, reader_path, against, as_json):
    from digsite.cli._print import print_json, print_table
    from digsite.read.api import read_model

    found = read_model(model, reader_path, against)
    if as_json:
        print_json(found)
        return found
    for note in found["notes"]:
        if note.startswith("not "):  # what was not understood, before any answer
            click.echo(note)
    click.echo(found["what"])
    for answer in found["answers"]:
        sure = f" [{answer['sureness']}]" if answer["sureness"] else ""
        click.echo(f"{answer['question']}{sure}\n  {answer['answer']}")
    click.echo("")
    for name, title in (("predictions", "what it says"), ("layers", "layers read"), ("skipped", "skipped")):
        if found[name]:
            click.echo(title)
            shown = found[name][:_ROWS]
            print_table(list(shown[0]), [[_format_cell(v) for v in row.values()] for row in shown])
            if len(found[name]) > _ROWS:
                click.echo(f"and {len(found[name]) - _ROWS} more, all of them with --json")
    click.echo("\n".join(note for note in found["notes"] if not note.startswith("not ")))
    return found


def _print_difference(first, second, as_json):
    from digsite.cli._print import print_json, print_table
    from digsite.read.api import compare_models

    found = compare_models(first, second)
    if as_json:
        print_json(found)
        return found
    print_table(
        list(found["layers"][0]), [[_format_cell(v) for v in row.values()] for row in found["layers"]]
    )
    click.echo("\n".join(found["notes"]))
    return found


def _print_lineage(folder, figure, as_json):
    from digsite.cli._print import print_json, print_table
    from digsite.read.api import trace_folder

    found = trace_folder(folder, figure)
    if as_json:
        print_json(found)
        return found
    click.echo(found["tree"] + "\n")
    if found["edges"]:
        columns = list(found["edges"][0])
        print_table(columns, [[_format_cell(v) for v in edge.values()] for edge in found["edges"]])
    reasons = {}
    for pair in found["unrelated"]:
        reasons.setdefault(pair["reason"].split(":")[0], []).append(f"{pair['first']} and {pair['second']}")
    for reason, pairs in reasons.items():
        more = f" and {len(pairs) - 3} more" if len(pairs) > 3 else ""
        click.echo(f"unrelated ({reason}): {', '.join(pairs[:3])}{more}")
    for entry in found["left_out"]:
        click.echo(f"left out: {entry['file']}: {entry['reason']}")
    click.echo("\n".join(found["notes"]))
    return found


def _format_cell(value):
    return f"{value:.4g}" if isinstance(value, float) else value

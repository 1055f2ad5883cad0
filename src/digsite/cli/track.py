"""digsite track RUN|CHECKPOINT-FOLDER|RESULTS|MODEL MODEL ..., and with --audit only whether a series is what it says."""

from pathlib import Path

import click

from digsite.base.errors import NotFound
from digsite.cli._options import json_option, runs_option


@click.command("track")
@click.argument("what", nargs=-1, required=True)
@click.option(
    "--measures", multiple=True, help="Only measures that contain this text; may be given several times."
)
@click.option(
    "--probe",
    default="",
    help="Run checkpoints on an image set by name, on stories, or on repeated tokens: activations besides weights. "
    "Small language models are run on repeated tokens; with none, weights alone are read.",
)
@click.option("--detector", default="edge", show_default=True, help="edge, zscore, trailing, pelt or kernel.")
@click.option("--audit", is_flag=True, help="Only say whether a series of checkpoints is what its names say.")
@runs_option
@json_option
def track_command(what, measures, probe, detector, audit, root, as_json):
    """Jumps in a run's journal or in a folder of checkpoints, or an import check of a folder of results.

    Checkpoints are files or folders with the step in their names; their weights are read, and with --probe also the
    activations of networks that say what they are (saved by digsite or in a Hugging Face layout). Results are
    CSV and JSON files: constant series, wrong time units and undefined statistics are named. Several models by reference
    are the checkpoints of one training, in the order in which they are named.

    Checkpoints are audited first: equal contents, strangers, exchanged steps, a start that has learned, broken files. With
    --audit that is all, and WHAT may also be a text file of references.
    """
    from digsite.track.api import audit_target, read_references, read_target

    if audit:
        reading = audit_target(what)
    elif len(what) > 1:
        reading = read_references(what, measures, detector)
    else:
        path = Path(what[0])
        if not path.exists():
            if "/" in what[0] and not what[0].startswith("run:"):
                raise NotFound(f"There is no file or folder '{what[0]}'.")
            from digsite.record import find_run

            path = find_run(what[0], root).path
        reading = read_target(path, measures, detector, probe)
    from digsite.cli._start import keep_answer

    if as_json:
        from digsite.cli._print import print_json

        print_json(reading.as_json())
    else:
        for line in reading.lines():
            click.echo(line)
    if not audit:  # which only says whether there is a series to ask about
        keep_answer("track", what, reading.as_json(), reading.lines()[-1:], root, quiet=as_json)

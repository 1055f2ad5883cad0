"""digsite dig MODEL"""

from pathlib import Path

import click

from digsite.cli._options import device_option, json_option, runs_option


@click.command("dig")
@click.argument("model")
@click.option("--text", default="", help="A text file or a corpus by name, for models of text.")
@click.option("--data", default="", help="An image set, a .npy of inputs, or py:module:name.")
@click.option("--relatives", default="", help="A folder of networks that the model may descend from.")
@click.option(
    "--budget", default="5min", show_default=True, help="Processor time for all questions: 90s, 5min, 1h."
)
@click.option("--skip", multiple=True, help="A question that is not asked; may be given several times.")
@runs_option
@device_option
@json_option
def command(model, text, data, relatives, budget, skip, root, device, as_json):
    """Everything that can be said about a model, on one page, each statement beside its null.

    It leaves a run like any other: show, report, serve and resume know it.
    """
    from digsite.base.errors import UsageError
    from digsite.cli import run
    from digsite.joint.core.allowance import parse_duration

    try:
        seconds = parse_duration(budget)
    except ValueError as error:
        raise UsageError(f"--budget: {error}.") from None
    place = (
        model
        if ":" in model or not Path(model).expanduser().exists()
        else str(Path(model).expanduser().resolve())
    )
    given = [f"model={place!r}", f"seconds={seconds}", f"skip=[{', '.join(skip)}]"]
    named = {"text": text, "data": data, "relatives": relatives}
    given += [
        f"{name}={value!r}" for name, value in named.items()
    ]  # empty ones too: the study has an example's
    click.get_current_context().invoke(
        run.command, studies="dig", overrides=tuple(given), root=root, device=device, as_json=as_json
    )

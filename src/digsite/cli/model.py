"""Verbs about a model of your own: `dig`, `decompose`, `exam` for a method of your own, and `card` and `push` to share one."""

import json
from pathlib import Path

import click

from digsite.cli._options import complete_model, device_option, find_named_model, json_option, runs_option


@click.command("dig")
@click.argument("model", shell_complete=complete_model)
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
def dig_command(model, text, data, relatives, budget, skip, root, device, as_json):
    """Everything that can be said about a model, on one page, each statement beside its null.

    It leaves a run like any other: show, report, serve and resume know it.
    """
    from digsite.base.errors import UsageError
    from digsite.cli.run import run_command
    from digsite.joint.core.statements import parse_duration

    try:
        seconds = parse_duration(budget)
    except ValueError as error:
        raise UsageError(f"--budget: {error}.") from None
    reference = (
        model
        if ":" in model or not Path(model).expanduser().exists()
        else str(Path(model).expanduser().resolve())
    )
    given = [f"model={reference!r}", f"seconds={seconds}", f"skip=[{', '.join(skip)}]"]
    named = {"text": text, "data": data, "relatives": relatives}
    given += [
        f"{name}={value!r}" for name, value in named.items()
    ]  # empty ones too: the study has an example's
    click.get_current_context().invoke(
        run_command, studies="dig", overrides=tuple(given), root=root, device=device, as_json=as_json
    )


@click.command("decompose")
@click.argument("model", metavar="MODEL", callback=find_named_model, shell_complete=complete_model)
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
@json_option
def decompose_command(model, overrides, modules, data, text, size, root, device, as_json):
    """Split weights of a model into simple parts, and learn which parts an input uses.

    MODEL is py:module:factory, file:PATH, zoo:NAME#123 or hub:org/name. Settings are key.path=value, such as
    decompose.C=50 decompose.steps=5000 seeds=2.
    """
    from digsite.cli.run import run_command

    if text:
        _refuse_text(text, model)
        data = f"text:{text}"
        overrides = (*_text_settings(model, size), *overrides)
    given = [f"model={model}", f"modules=[{', '.join(map(repr, modules.split(',')))}]", f"data={data}"]
    click.get_current_context().invoke(
        run_command,
        studies="own_model",
        overrides=(*given, *overrides),
        size=size,
        root=root,
        device=device,
        as_json=as_json,
    )


SHORT = 4096  # bytes of a text that may have fewer tokens than one window


def _refuse_text(text: str, model: str) -> None:
    """A text that is not there, or that fills no window, is refused before a run is made: only a short one needs the model for it."""
    from digsite.data.text import find_corpus

    if find_corpus(text).stat().st_size < SHORT:
        from digsite.decompose.subjects.inputs import read_text_rows
        from digsite.models.opening import open_model

        read_text_rows(text, open_model(model))


def _text_settings(model: str, size: str | None) -> list[str]:
    """The recipe for language, in place of the study's, which is for small networks of numbers; an encoder, whose answers
    are no tokens, is compared by their squared error. Eight windows a step: a window has up to 256 tokens.
    """
    from digsite.decompose.core.recipes import read_recipe

    chosen = read_recipe("language") | {"batch": 8}
    chosen |= {} if _answers_in_tokens(model) else {"compare": "relative"}
    chosen |= {"steps": chosen["steps"] // 4} if size == "quick" else {}
    return [f"decompose.{name}={json.dumps(value)}" for name, value in chosen.items()]


def _answers_in_tokens(model: str) -> bool:
    """What the folder's config names has a language-model head; where nothing is named, the study finds out."""
    from digsite.base.atomic import read_json_or

    folder = Path(model.removeprefix("file:")).expanduser()
    names = read_json_or(folder / "config.json", {}).get("architectures")
    return not isinstance(names, list) or not names or any("LM" in str(name) for name in names)


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
@json_option
def exam_command(overrides, contestants, programs, size, root, device, as_json):
    """Score ways of taking a transformer apart against compiled programs whose truth is known.

    A method of your own is a function of (model, batches, sites, seed) that gives {site: (V, U)}, or that and a function
    from token numbers to importances. It is scored beside singular vectors and random directions. See docs/exam.md.
    """
    from digsite.cli.run import run_command

    given = []
    if contestants:
        names = dict.fromkeys([*contestants, "singular", "random"])
        given.append(f"contestants=[{', '.join(map(repr, names))}]")
    if programs:
        given.append(f"programs=[{', '.join(map(repr, programs.split(',')))}]")
    click.get_current_context().invoke(
        run_command,
        studies="exam-decompose",
        overrides=(*given, *overrides),
        size=size,
        root=root,
        device=device,
        as_json=as_json,
    )


@click.command("card")
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--write", is_flag=True, help="Write it: README.md of a folder, or a .md beside a file.")
@json_option
def card_command(path, write, as_json):
    """The card of something saved: how it was made, what was found beside which null, how it is opened."""
    from dataclasses import asdict

    from digsite.cli._print import print_json
    from digsite.weights import describe_saved, render_card, write_card

    if write:
        written = write_card(path)
        return print_json({"card": str(written)}) if as_json else click.echo(written)
    card = describe_saved(path)
    return print_json(asdict(card)) if as_json else click.echo(render_card(card, str(path)))


@click.command("push")
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.argument("repo", metavar="OWNER/NAME")
@click.option("--public", is_flag=True, help="Everybody may see it; private by default.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
def push_command(path, repo, public, yes, as_json):
    """Send something saved with its card to the Hugging Face hub: a pruned model, masks, a zoo, a decomposition ...

    Only data goes: safetensors, JSON, tables, texts. Sign in first: hf auth login.
    """
    from digsite.cli._print import print_json
    from digsite.weights import describe_saved, push_saved

    kind = describe_saved(path).kind
    if not yes:
        seen = "everybody sees it" if public else "private"
        click.confirm(f"Send '{path}' ({kind}) to '{repo}' of the hub ({seen})?", abort=True, err=True)
    address = push_saved(path, repo, private=not public)
    return print_json({"kind": kind, "place": address}) if as_json else click.echo(address)

"""digsite prune MODEL"""

from pathlib import Path

import click

from digsite.cli._options import complete_member, complete_model, device_option, json_option, runs_option


@click.command("prune")
@click.argument("model", shell_complete=complete_model)
@click.option(
    "--method",
    default="wanda",
    show_default=True,
    shell_complete=complete_member("digsite.prune.core.scores"),
    help="magnitude, wanda, wanda-variant, ria or sparsegpt.",
)
@click.option("--sparsity", type=float, default=None, help="Share of weights that go, 0.5 by default.")
@click.option("--pattern", default=None, help="n:m, such as 2:4, instead of a share.")
@click.option(
    "--calibration",
    default="",
    help="A corpus or a text file; for other models an image set or folder, FILE.npy of inputs, or py:module:name.",
)
@click.option(
    "--sequences",
    type=click.IntRange(0),
    default=0,
    help="Calibration windows (rows, images); 128, as published.",
)
@click.option(
    "--length",
    type=click.IntRange(0),
    default=0,
    help="Tokens of a window; the context, at most 2048, as published.",
)
@click.option(
    "--swap", type=click.IntRange(0), default=0, show_default=True, help="Most exchanges per row afterwards."
)
@click.option(
    "--evaluation",
    default="",
    metavar="TEXT",
    help="Perplexity on the whole of this: wikitext2 or wikitext103 as published (context 2,048), a corpus, a text file.",
)
@click.option("--owl", is_flag=True, help="Give layers with more outlying scores more weights.")
@click.option(
    "--repair",
    multiple=True,
    help="What is done to the weights that stay: least_squares, sub_block, block, admm, ...; may be given several times.",
)
@click.option("--allocation", default="", help="How much goes where: owl, sensitivity or evolution.")
@click.option(
    "--bits", type=int, default=0, help="Round what stays to so many bits in SparseGPT's own sweep: 8 or 4."
)
@click.option(
    "--setting",
    multiple=True,
    metavar="NAME=NUMBER",
    help="A number of the method itself, such as damping=0.1 of sparsegpt; may be given several times.",
)
@click.option("--include", multiple=True, help="Only maps like this one; may be given several times.")
@click.option("--exclude", multiple=True, help="Not maps like this one.")
@click.option("--stream", is_flag=True, help="Keep one layer in memory, for models larger than that.")
@click.option(
    "--masks",
    type=click.Path(path_type=Path),
    default=None,
    help="Apply the masks of this file, which must be of this model, instead of making new ones.",
)
@click.option("--seed", type=int, default=0, show_default=True)
@device_option
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Of the passes that calibrate and score; bfloat16 halves their cost where the processor has it.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new folder for the result.")
@runs_option
@json_option
def prune_command(
    model,
    method,
    sparsity,
    pattern,
    calibration,
    sequences,
    length,
    swap,
    evaluation,
    owl,
    repair,
    allocation,
    bits,
    setting,
    include,
    exclude,
    stream,
    masks,
    seed,
    device,
    precision,
    out,
    root,
    as_json,
):
    """Prune a model of any family and keep its masks, its errors and what it lost.

    MODEL is a folder, a file, hub:org/name, run:ID or py:module:factory. An interrupted pruning goes on where it was
    when the same command is given again.
    """
    from digsite.base.families import scan_member
    from digsite.prune.api import PruneJob
    from digsite.prune.core import patterns
    from digsite.prune.core.matrix import method_named
    from digsite.prune.core.model import Recipe
    from digsite.prune.core.scores import FAMILY

    _refuse_both(sparsity, pattern, masks)
    how = patterns.parse_pattern(sparsity, pattern)
    _check_bits(bits, method_named(method))
    numbers = _read_numbers(setting, {"bits": bits} if bits else {})
    scan_member(FAMILY, method_named(method))(numbers)  # a mistyped setting is said before anything is read
    after = {"settings": numbers, "repair": repair, "allocation": allocation}
    recipe = Recipe(method_named(method), how, include, exclude, swap, owl, **after)
    where = {"device": _device_named(device), "precision": precision, "evaluation": evaluation}
    job = PruneJob(model, out, recipe, calibration, sequences, length, seed, stream, masks, **where)
    _show_and_keep(_prune_job(job), model, out, root, as_json)


def _prune_job(job):
    """Activations and logits are large and short-lived: an allocator that keeps their pages saves half a million faults."""
    from digsite.prune.api import prune_folder
    from digsite.train.fit import tune_allocator

    tune_allocator()
    return prune_folder(job, _print_matrix, lambda line: click.echo(line, err=True))


def _show_and_keep(done, model, out, root, as_json) -> None:
    """What was measured, as `pruning.json` in the folder has it, shown and left as a run."""
    from digsite.base import atomic
    from digsite.cli._print import print_json
    from digsite.cli._start import keep_answer

    facts = {"folder": str(out), **atomic.read_json(out / "pruning.json", default={})}
    if as_json:
        print_json(facts)
    else:
        _print_pruning(done, out)
    keep_answer("prune", [str(model)], facts, done.notes, root, quiet=as_json)


TRUTH = {"true": 1.0, "false": 0.0}


def _read_numbers(words, numbers) -> dict[str, float]:
    """`name=number` of every word; a truth value is 0 or 1."""
    from digsite.base.errors import UsageError

    for word in words:
        name, equals, value = word.partition("=")
        try:
            numbers[name] = TRUTH[value.lower()] if value.lower() in TRUTH else float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise UsageError(f"'{word}' sets nothing.", hint="Write --setting damping=0.1.")
    return numbers


def _refuse_both(sparsity, pattern, masks) -> None:
    """Two ways to say what goes cannot both be meant."""
    from digsite.base.errors import UsageError

    if sparsity is not None and pattern:
        raise UsageError(f"Both --sparsity {sparsity} and --pattern {pattern} were given; choose one.")
    if masks and (sparsity is not None or pattern):
        raise UsageError(
            "The file of --masks says what goes; --sparsity and --pattern cannot be given with it."
        )


def _print_pruning(done, out) -> None:
    for when, measured in (("before", done.before), ("after", done.after)):
        if measured is not None:
            bits = f", {measured.bits_per_byte:.4f} bits per byte" if measured.bits_per_byte else ""
            how = "" if done.provenance["precision"] == "float32" else f", in {done.provenance['precision']}"
            click.echo(
                f"{when:>6}: perplexity {measured.perplexity:.3f} at context {measured.context}{bits}{how}"
            )
    if done.drift is not None:
        click.echo(done.drift.sentence())
    for line in done.notes[-3:]:
        if line.startswith(("pruned", "not ")) or " maps (" in line:
            click.echo(line)
    click.echo(done.page)
    click.echo(f"folder  {out}  (masks.safetensors, pruning.json, size_and_speed.md)")


def _device_named(name: str) -> str:
    from digsite.worker.process import pick_device

    return str(pick_device(name))


def _check_bits(bits: int, method: str) -> None:
    from digsite.base.errors import UsageError
    from digsite.prune.core.matrix import settings_of

    if bits and "bits" not in settings_of(method):
        raise UsageError(
            f"--bits rounds inside SparseGPT's sweep, and the method is '{method}'.",
            hint="Give --method sparsegpt, or leave out --bits.",
        )


def _print_matrix(line) -> None:
    error = "" if line.relative_error is None else f"  relative error {line.relative_error:.5f}"
    click.echo(
        f"{line.name:<44} pruned {line.sparsity:.2%}{error}{'  ' + line.note if line.note else ''}", err=True
    )

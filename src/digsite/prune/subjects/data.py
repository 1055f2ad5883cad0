"""The data of one pruning: what it is calibrated on and what it is scored on, for every family."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from digsite.base.errors import NotFound, UsageError
from digsite.data import text
from digsite.models.opening import Opened, feed_tokens, take_data
from digsite.models.opening.feeding import Batch
from digsite.prune.core import matrix
from digsite.prune.core.model import Recipe
from digsite.prune.core.walk import n_rows_of
from digsite.prune.subjects.language import PUBLISHED, Language, Windows, draw_windows, take_stream
from digsite.prune.subjects.maskstore import tensor_hash

EVALUATED = 16_384  # tokens of held-out text: 8 windows of 2,048, or 128 of 128
ARRAYS = (".npy", ".npz")


@dataclass(frozen=True)
class PruneJob:
    """`sequences` and `length` of 0 are the published calibration, as far as the model's context goes."""

    reference: str
    out: Path
    recipe: Recipe
    text: str = ""
    sequences: int = 0
    length: int = 0
    seed: int = 0
    stream: bool = False
    masks: Path | None = None  # apply these instead of making new ones
    evaluation_windows: int = 32
    device: str = "cpu"
    precision: str = "float32"  # of the passes that calibrate and score
    evaluation: str = (
        ""  # a text or a published standard that is scored as a whole, in place of held-out windows
    )


def make_batch(job: PruneJob, language: Language, split: str, n: int) -> Batch:
    """Rows of what this model reads, from what was named; the default for each family that has one."""
    opened = language.opened
    if (
        (opened is not None and not opened.takes_tokens)
        or job.text.endswith((".npy", ".npz"))
        or job.text.startswith("py:")
    ):
        assert opened is not None
        return other_data(job, opened, split, n or PUBLISHED[0])
    windows = make_windows(job, language, split, n)
    return windows.tokens if opened is None or opened.is_causal else feed_tokens(opened, windows.tokens)


def make_windows(job: PruneJob, language: Language, split: str, n: int) -> Windows:
    """The published number and length of windows where nothing else was asked for."""
    usual = not job.length
    length = job.length or min(language.context, PUBLISHED[1])
    if language.tokenizer is None and language.knows_stories:
        length = job.length
    n = n or PUBLISHED[0]
    fewer = split == "test" or not job.sequences or usual
    return draw_windows(language, job.text, n, length, job.seed, split, fewer=fewer, pack=usual)


def other_data(job: PruneJob, opened: Opened, split: str, n: int) -> Batch:
    """Images, sounds, arrays or what a function gives; only images have a default."""
    source = job.text or ("digits" if opened.takes_images else "")
    batch = take_data(opened, source, n, job.seed, split) if source else None
    if batch is None:
        eats = {"images": "images", "sound": "sounds"}.get(opened.kind, "what its forward takes")
        raise UsageError(
            f"'{job.reference}' takes {eats}, and "
            + (f"'{source}' is not that." if source else "there is no data."),
            hint="Give --calibration FILE.npy with its inputs, py:module:name, an image set, or use --method magnitude.",
        )
    return batch


def held_out_data(job: PruneJob, language: Language) -> Windows | Batch | None:
    """Held-out data to score on; None where there is none: the ledger says what pruning did. A text that was named to be
    scored on is scored, or it is said why not.
    """
    if job.evaluation:
        return evaluation_windows(job, language)
    try:
        if language.is_causal and not job.text.endswith(ARRAYS) and not job.text.startswith("py:"):
            length = job.length or min(language.context, PUBLISHED[1])
            n = min(job.evaluation_windows, max(4, EVALUATED // length))
            return make_windows(job, language, "test", n)
        return make_batch(job, language, "test", min(job.evaluation_windows, 32))
    except (UsageError, NotFound):
        return None


def evaluation_windows(job: PruneJob, language: Language) -> Windows:
    """The whole of a text as one stream of tokens, cut at its published context, or at the model's where that is shorter."""
    if not language.is_causal or language.tokenizer is None:
        raise UsageError(
            f"'{job.reference}' has no perplexity on '{job.evaluation}': it predicts no next token, or has no tokenizer.",
            hint="Leave out --evaluation: other models are scored by how far their own output moves.",
        )
    if job.evaluation in text.STANDARDS:
        whole, length = text.read_standard(job.evaluation)
    else:
        whole, length = "\n\n".join(text.read_documents(job.evaluation)), PUBLISHED[1]
    return take_stream(language, whole, min(length, language.context))


def part_rows(batch: Batch | None) -> tuple[Batch | None, Batch | None]:
    """Three quarters of the rows to calibrate on, the rest to score on; nothing to score on where there is one row."""
    if batch is None or (n := n_rows_of(batch)) < 2:
        return batch, None
    cut = max(1, n - max(1, n // 4))
    if isinstance(batch, Tensor):
        return batch[:cut], batch[cut:]
    return {k: v[:cut] for k, v in batch.items()}, {k: v[cut:] for k, v in batch.items()}


def move_batch(batch: Batch | None, device: str) -> Any:
    """The same batch on a device."""
    if batch is None or isinstance(batch, Tensor):
        return batch if batch is None else batch.to(device)
    return {key: value.to(device) for key, value in batch.items()}


def hash_batch(batch: Batch | None) -> str | None:
    """A short fingerprint of a batch, for provenance."""
    if batch is None:
        return None
    return tensor_hash([batch] if isinstance(batch, Tensor) else list(batch.values()))


def needs_data(job: PruneJob) -> bool:
    """Whether the method, or what comes with it, looks at inputs."""
    needed = job.masks is None and matrix.need_of(job.recipe.method)
    recipe = job.recipe
    return bool(needed or job.text or recipe.swap or recipe.owl or recipe.repair or recipe.allocation)


def calibration_data(job: PruneJob, language: Language) -> Batch | None:
    """What the job is calibrated on; None where nothing looks at inputs."""
    if not needs_data(job):
        return None
    return make_batch(job, language, "train", job.sequences)

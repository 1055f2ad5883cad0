"""A word of a story model's stories called by another: does the difference, told in parts, say which?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from digsite.base.errors import UsageError
from digsite.base.streams import derive_seed
from digsite.figures import PALETTE, canvas, styled
from digsite.figures.style import NULL_COLOR
from digsite.joint.config import FactsConfig
from digsite.joint.core import differences
from digsite.joint.core.differences import PathMap
from digsite.joint.experiments.differences import FIRST, WAYS
from digsite.prune.subjects.language import Language, draw_windows, load_language
from digsite.record.verdict import cite
from digsite.train import Ensemble, Member, Stream
from digsite.worker.run import Run

COMMON = 288  # a word that is renamed is one in so many tokens of the stories, or more


def study_facts(config: FactsConfig, run: Run) -> None:
    language = load_language(config.model)
    words = list_words(language, config)
    rng = np.random.default_rng(derive_seed(config.seed, "words"))
    pairs = [tuple(int(w) for w in rng.choice(words, 2, replace=False)) for _ in range(config.facts)]
    run.stage("siblings", 1)
    stored = run.once("siblings", lambda: train_renamed(config, language, pairs), announce=False)
    run.let_signals_in(1)
    said = torch.bincount(
        story_windows(language, config, "train").flatten(), minlength=language.tokenizer.size
    )
    usual = said >= config.least * said.sum()
    base = map_writes({name: p.detach() for name, p in language.model.named_parameters()}, usual)
    rows = []
    for i, pair in enumerate(pairs):
        sibling = map_writes({name: each[i] for name, each in stored["params"].items()}, usual)
        about = {
            "fact": i,
            "from": language.tokenizer.decode([pair[0]]).strip(),
            "to": language.tokenizer.decode([pair[1]]).strip(),
            "worked": float(stored["worked"][i]),
        }
        for way, tell in WAYS.items():
            changes = tell(base, sibling, config.parts)[:FIRST]
            said = [part.answer for part in changes]
            rows.append(
                {
                    **about,
                    "way": way,
                    "named": float(set(pair) <= set(said)),
                    "new_word": float(pair[1] in said),
                    "said": " ".join(language.tokenizer.decode([t]).strip() for t in said),
                }
            )
        generator = run.generator("random", i)
        drawn = [
            {part.answer for part in differences.split_randomly(sibling - base, FIRST, generator)}
            for _ in range(config.draws)
        ]
        rows.append(
            {
                **about,
                "way": "random",
                "named": float(np.mean([set(pair) <= said for said in drawn])),
                "new_word": float(np.mean([pair[1] in said for said in drawn])),
            }
        )
    table = pd.DataFrame(rows)
    run.table("facts", table)
    conclude_facts(run, table)


def conclude_facts(run: Run, table: Any) -> None:
    of = {way: table[table["way"] == way] for way in (*WAYS, "random")}
    for key, title in (
        ("named", "Siblings whose changed word and its new name are both named"),
        ("new_word", "Siblings whose new name is named"),
    ):
        run.claim_share(
            key,
            int(of["parts"][key].sum()),
            len(of["parts"]),
            better="higher",
            null=float(of["random"][key].mean()),
            null_is="parts along random directions",
            title=f"{title} by the first three parts",
            rivals={way: float(of[way][key].mean()) for way in ("singular", "rows")},  # pyright: ignore[reportCallIssue]
        )
    run.claim(
        "worked",
        float(of["parts"]["worked"].mean()),
        kind="share",
        null=0.0,
        null_is="the model before",
        title="How often siblings say the new name where the model said the old one",
    )
    run.figure(
        "named",
        draw_facts(table),
        table,
        caption="Siblings whose renamed word, and whose new name alone, is among what the first three parts of the difference write to.",
    )
    run.view("facts", kind="table", source="tables/facts.csv")
    run.headline(["named", "new_word", "worked"], hero="named")
    run.verdict(
        f"Among its first three parts, the difference names the renamed word and its new name in {cite('named')} of {cite('named', 'n')} "
        f"siblings (largest singular directions {cite('named', 'singular', '.0%')}, largest rows {cite('named', 'rows', '.0%')}, random "
        f"directions {cite('named', 'null', '.0%')}), and the new name alone in {cite('new_word')}.",
        on=["worked"],
    )


def list_words(language: Language, config: FactsConfig) -> list[int]:
    """Tokens that are whole words of four letters or more and make up one in 288 of the windows' tokens or more."""
    counts = torch.bincount(
        story_windows(language, config, "train").flatten(), minlength=language.tokenizer.size
    )
    pieces = language.tokenizer.pieces
    whole = [
        i
        for i, piece in enumerate(pieces)
        if piece.strip(" \u2581").isalpha() and piece[0] in " \u2581" and len(piece) > 4
    ]
    common = [i for i in whole if COMMON * counts[i] >= counts.sum()]
    if len(common) < 2:
        raise UsageError(
            f"'{config.text}' has no two words of one token that are common enough to be renamed."
        )
    return common


def story_windows(language: Language, config: FactsConfig, split: str) -> Tensor:
    return draw_windows(
        language, config.text, config.windows, config.length, config.seed, split, fewer=True
    ).tokens


def train_renamed(
    config: FactsConfig, language: Language, pairs: Sequence[tuple[int, ...]]
) -> dict[str, Any]:
    """All siblings side by side on the same windows, each with its word renamed: their weights, and whether they say the new name."""
    windows, row_of = (
        story_windows(language, config, "train"),
        {config.seed * 1000 + i: i for i in range(len(pairs))},
    )

    def batch(step: int, member: Member) -> tuple[Tensor, Tensor]:
        i = row_of[member.seed]
        draw = torch.Generator().manual_seed(derive_seed(config.seed, "batch", i, step))
        rows = windows[torch.randint(len(windows), (config.batch,), generator=draw)]
        rows = torch.where(rows == pairs[i][0], pairs[i][1], rows)
        return rows, rows

    members = [Member(seed=seed, steps=config.steps, lr=1e-3) for seed in row_of]
    start = {name: p.detach() for name, p in language.model.named_parameters()}
    ensemble = Ensemble(
        language.model, Stream(batch, per_member=True), members, loss="next_token", start=start
    )
    while not ensemble.done:
        ensemble.step()
    unseen = story_windows(language, config, "test")[:200]
    with torch.no_grad():
        said = language.model(unseen)[:, :-1].argmax(-1)
    worked = []
    for i, (old, new) in enumerate(pairs):
        there = (said == old) & (unseen[:, 1:] == old)
        now = ensemble.forward_one(i, unseen)[:, :-1].argmax(-1)
        worked.append(float((now[there] == new).float().mean()) if there.any() else float("nan"))
    return {"params": ensemble.params, "worked": torch.tensor(worked)}


def map_writes(params: Mapping[str, Tensor], usual: Tensor) -> PathMap:
    """(tokens, inputs of maps): what every map that writes into the stream of a Llama says to the answers, told apart. Tokens that are
    not `usual` say nothing: training moves what is never said the most, since nothing holds it back."""
    writes = torch.cat(
        [w.double() for name, w in params.items() if name.endswith(("o_proj.weight", "down_proj.weight"))], 1
    )
    head = params["model.embed_tokens.weight"].double() * params["model.norm.weight"].double()
    return ((head - head[usual].mean(0, keepdim=True)) * usual[:, None]) @ writes


@styled
def draw_facts(table: pd.DataFrame) -> Any:
    figure, ax = canvas(width=6.4, height=3.2)
    for position, (way, color) in enumerate(
        zip([*WAYS, "random"], [PALETTE[1], PALETTE[0], PALETTE[2], NULL_COLOR])
    ):
        shares = [100 * float(table.loc[table["way"] == way, key].mean()) for key in ("named", "new_word")]
        ax.bar(np.arange(2) + 0.2 * (position - 1.5), shares, width=0.18, color=color, label=way, zorder=2)
    ax.set_xticks(range(2), ["the word and its new name", "the new name"])
    ax.set(ylabel="siblings named (%)", ylim=(0, 105))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return figure

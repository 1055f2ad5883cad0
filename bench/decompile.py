"""Programs that are drawn here and compiled by Tracr: how many are read back from the weights in a hidden basis?

Needs `pip install tracr-pypi` (with jax) beside digsite. Nothing of the reader was chosen on programs of this generator; seeds
0 to 199, once. The null hands in the program of the nearest other network, out of as many.
"""

import argparse
import importlib.util
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch

from digsite.base.intervals import exact_share
from digsite.decompose.subjects.compiled import CompiledProgram, CompiledTransformer, rotate_program
from digsite.joint.experiments.programs import describe_steps, find_nearest, score_reading

PREDICATES = {
    "==": lambda k, q: k == q,
    "!=": lambda k, q: k != q,
    "<": lambda k, q: k < q,
    "<=": lambda k, q: k <= q,
    ">": lambda k, q: k > q,
    ">=": lambda k, q: k >= q,
    "always": lambda k, q: True,
}
PAIRS = {"x + y": lambda x, y: x + y, "x * y": lambda x, y: x * y, "x - y": lambda x, y: x - y, "max": max}
MOST_VALUES = 20  # of a categorical variable: a table of two has the square of it


@dataclass
class Drawn:
    """A program while it grows: Tracr's expressions, what each is in words, and the values of the categorical ones."""

    expressions: dict[str, Any]
    steps: dict[str, dict[str, Any]]
    values: dict[str, list[int]]
    numerical: list[str] = field(default_factory=list)

    def name(self) -> str:
        return f"x{len(self.steps)}"


def draw_program(seed: int) -> tuple[Drawn, str, int, int]:
    """Two to six steps by rule, and which is the answer."""
    from tracr.rasp import rasp

    draw = random.Random(seed)
    n_symbols, length = draw.randint(3, 5), draw.randint(3, 5)
    symbols, places = list(range(n_symbols)), list(range(length))
    drawn = Drawn(
        {"tokens": rasp.tokens, "indices": rasp.indices},
        {"tokens": {"name": "tokens", "op": "tokens"}, "indices": {"name": "indices", "op": "indices"}},
        {"tokens": symbols, "indices": places},
    )
    for _ in range(draw.randint(2, 6)):
        draw.choice([add_map, add_pair, add_aggregate, add_width, add_sum])(drawn, draw, length)
    made = [name for name in drawn.steps if drawn.steps[name]["op"] not in ("tokens", "indices", "select")]
    if not made:
        add_width(drawn, draw, length)
        made = list(drawn.steps)
    return drawn, made[-1], n_symbols, length


def add_map(drawn: Drawn, draw: random.Random, _: int) -> None:
    from tracr.rasp import rasp

    of = draw.choice(list(drawn.values))
    name, values = drawn.name(), drawn.values[of]
    is_number = draw.random() < 0.5
    results = [draw.choice([False, True]) if is_number else draw.randint(0, 4) for _ in values]
    if is_number and len(set(results)) < 2:
        results[0] = not results[0]
    table = dict(zip(values, results, strict=True))
    expression = rasp.Map(lambda x: table[x], drawn.expressions[of], simplify=False)
    expression = rasp.numerical(expression) if is_number else expression
    drawn.expressions[name] = expression.named(name)
    drawn.steps[name] = {"name": name, "op": "map", "args": [of], "table": [[v, r] for v, r in table.items()]}
    if is_number:
        drawn.numerical.append(name)
    else:
        drawn.values[name] = sorted(set(results))


def add_pair(drawn: Drawn, draw: random.Random, _: int) -> None:
    from tracr.rasp import rasp

    first, second = draw.sample(list(drawn.values), 2)
    rule = PAIRS[draw.choice(list(PAIRS))]
    table = [[x, y, rule(x, y)] for x in drawn.values[first] for y in drawn.values[second]]
    results = sorted({line[2] for line in table})
    if len(results) > MOST_VALUES:
        return
    name = drawn.name()
    drawn.expressions[name] = rasp.SequenceMap(
        rule, drawn.expressions[first], drawn.expressions[second]
    ).named(name)
    drawn.steps[name] = {"name": name, "op": "sequence_map", "args": [first, second], "table": table}
    drawn.values[name] = results


def add_select(drawn: Drawn, draw: random.Random, predicate: str = "") -> tuple[str, Any]:
    from tracr.rasp import rasp

    keys, queries = draw.choice(list(drawn.values)), draw.choice(list(drawn.values))
    rule = PREDICATES[predicate or draw.choice(list(PREDICATES))]
    name = drawn.name()
    pairs = [[k, q] for k in drawn.values[keys] for q in drawn.values[queries] if rule(k, q)]
    drawn.steps[name] = {
        "name": name,
        "op": "select",
        "keys": keys,
        "queries": queries,
        "selected_key_query_pairs": pairs,
    }
    return name, rasp.Select(drawn.expressions[keys], drawn.expressions[queries], rule)


def add_aggregate(drawn: Drawn, draw: random.Random, _: int) -> None:
    from tracr.rasp import rasp

    of = draw.choice([*drawn.values, *drawn.numerical])
    select, expression = add_select(drawn, draw)
    name = drawn.name()
    whole = rasp.Aggregate(expression, drawn.expressions[of], default=None if of in drawn.values else 0)
    if of in drawn.values:
        drawn.values[name] = drawn.values[of]
    else:
        whole = rasp.numerical(whole)
        drawn.numerical.append(name)
    drawn.expressions[name] = whole.named(name)
    drawn.steps[name] = {"name": name, "op": "aggregate", "args": [select, of]}


def add_width(drawn: Drawn, draw: random.Random, length: int) -> None:
    from tracr.rasp import rasp

    select, expression = add_select(drawn, draw)
    name = drawn.name()
    drawn.expressions[name] = rasp.SelectorWidth(expression).named(name)
    drawn.steps[name] = {"name": name, "op": "selector_width", "args": [select]}
    drawn.values[name] = list(range(length + 1))


def add_sum(drawn: Drawn, draw: random.Random, _: int) -> None:
    from tracr.rasp import rasp

    if len(drawn.numerical) < 2:
        return
    first, second = draw.sample(drawn.numerical, 2)
    a, b = draw.choice([-2, -1, 1, 2]), draw.choice([-2, -1, 1, 2])
    name = drawn.name()
    expression = rasp.LinearSequenceMap(drawn.expressions[first], drawn.expressions[second], a, b)
    drawn.expressions[name] = rasp.numerical(expression).named(name)
    drawn.steps[name] = {
        "name": name,
        "op": "linear_sequence_map",
        "args": [first, second],
        "factors": [a, b],
    }
    drawn.numerical.append(name)


def keep_needed(steps: dict[str, dict[str, Any]], answer: str) -> list[dict[str, Any]]:
    """Only what the answer is computed from is compiled."""
    needed, waiting = {"tokens", "indices"}, [answer]
    while waiting:
        name = waiting.pop()
        needed.add(name)
        step = steps[name]
        waiting += [
            n
            for n in (*step.get("args", ()), *(step[k] for k in ("keys", "queries") if k in step))
            if n not in needed
        ]
    return [step for name, step in steps.items() if name in needed]


def compile_drawn(seed: int) -> CompiledProgram:
    from tracr.compiler import compiling

    drawn, answer, n_symbols, length = draw_program(seed)
    made = compiling.compile_rasp_to_model(
        drawn.expressions[answer], set(range(n_symbols)), length, compiler_bos="BOS", causal=False
    )
    encoding = {str(k): v for k, v in made.input_encoder.encoding_map.items()}
    labels = made.residual_labels
    # The compiler may put a number behind a name that it gives twice.
    dims = [i for i, label in enumerate(labels) if re.fullmatch(rf"{answer}(_\d+)?(:.*)?", label)]
    assert dims, "the answer is in the stream under its name"
    state, heads, key_size = read_weights(made, dims)
    truth = {
        "name": f"drawn_{seed}",
        "steps": keep_needed(drawn.steps, answer),
        "encoding": encoding,
        "symbols": list(range(n_symbols)),
        "layers": sum(n.endswith("mlp.in.weight") for n in state),
        "heads": heads,
        "key_size": key_size,
        "width": len(labels),
        "output": {"variable": answer, "kind": "numerical" if answer in drawn.numerical else "categorical"},
        "matrices": {name: {"shape": list(w.shape)} for name, w in state.items()},
    }
    model = CompiledTransformer(truth)
    model.load_state_dict(state)
    return CompiledProgram(truth["name"], model, truth, torch.eye(len(labels)), (), True)


def read_weights(made: Any, dims: list[int]) -> tuple[dict[str, torch.Tensor], int, int]:
    """Tracr's parameters under the names of compiled programs; its biases are zero."""
    tensor = {k: {n: torch.tensor(w.tolist()) for n, w in v.items()} for k, v in made.params.items()}
    state = {
        "embed.weight": tensor["token_embed"]["embeddings"],
        "pos.weight": tensor["pos_embed"]["embeddings"],
    }
    n = 0
    while f"transformer/layer_{n}/attn/query" in tensor:
        for ours, theirs in (
            ("attn.q", "attn/query"),
            ("attn.k", "attn/key"),
            ("attn.v", "attn/value"),
            ("attn.o", "attn/linear"),
            ("mlp.in", "mlp/linear_1"),
            ("mlp.out", "mlp/linear_2"),
        ):
            layer = tensor[f"transformer/layer_{n}/{theirs}"]
            assert not layer["b"].any()
            state[f"blocks.{n}.{ours}.weight"] = layer["w"].T.contiguous()
        n += 1
    state["unembed.weight"] = torch.eye(state["embed.weight"].shape[1])[dims]
    config = made.model_config
    return state, config.num_heads, config.key_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="200 programs instead of 40")
    count = 200 if parser.parse_args().full else 40
    if importlib.util.find_spec("tracr") is None:
        sys.exit(print("Not run: pip install tracr-pypi, which compiles the programs."))
    programs, failed = [], Counter()
    for seed in range(count):
        try:
            programs.append(compile_drawn(seed))
        except Exception as error:  # the compiler refuses some of what is drawn
            failed[type(error).__name__] += 1
    began = time.process_time()
    scores = [score_reading(rotate_program(program, i)) for i, program in enumerate(programs)]
    spent = time.process_time() - began
    right = sum(score["right"] for score in scores)
    refused = [score["why"] for score in scores if score["outcome"] == "refused"]
    nearest = [find_nearest(program, programs) for program in programs]
    null = sum(
        describe_steps(p.truth) == describe_steps(n.truth)
        for p, n in zip(programs, nearest, strict=True)
        if n
    )
    for words, n in (("fully right", right), ("null: program of the nearest network", null)):
        low, high = exact_share(n, len(programs))
        print(
            f"{words:<40}{n} of {len(programs)}: {100 * n / len(programs):.0f} % ({100 * low:.0f} to {100 * high:.0f})"
        )
    print(f"{'refused':<40}{len(refused)}; read with a mistake: {len(programs) - right - len(refused)}")
    print(f"{'steps that are right, mean':<40}{100 * sum(s['steps'] for s in scores) / len(scores):.1f} %")
    print(
        f"{'CPU seconds a network':<40}{spent / len(programs):.3f}; not compiled by Tracr: {sum(failed.values())} {dict(failed)}"
    )
    for why, n in Counter(refused).most_common():
        print(f"  {n:>3} x {why}")


if __name__ == "__main__":
    main()

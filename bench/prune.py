"""Masks, neighbors and studies against the usual ways, in CPU-seconds of one thread and as ratios in one run.

The reference SparseGPT is compared where a copy is: DIGSITE_SPARSEGPT names the folder of its repository.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from digsite.base import atomic
from digsite.prune.core.clusters import measure_separations
from digsite.prune.core.hamming import neighbours
from digsite.prune.core.inputs import collect_inputs
from digsite.prune.core.kernels import compiled
from digsite.prune.core.matrix import prune_matrix
from digsite.prune.core.packed import orient_features, pack
from digsite.prune.core.scores.wanda import row_mask
from digsite.prune.judge.nulls import ObservedMask
from digsite.prune.judge.nulls.random_masks import Margins, trade_margins
from digsite.record import RunDir, read_results
from digsite.record.listing import runs_in

SHAPES = ((4096, 11008), (11008, 4096))
RUNS = Path("runs") / "bench"
QUALITY = (
    "windows=32",
    "calibration.sequences=24",
)  # of 128 tokens each: less than the study takes by itself
SAMPLE = 128  # queries from which slow ways are extrapolated


def clock(work: Callable[[], object], repeats: int = 3) -> float:
    """The best of some repeats: the machine may be shared."""
    times = []
    for _ in range(repeats):
        start = process_time()
        work()
        times.append(process_time() - start)
    return min(times)


def line(work: str, ours: float, others: dict[str, float], must: str) -> None:
    ratios = ", ".join(f"{other / ours:.1f}x {name} ({other:.3f} s)" for name, other in others.items())
    print(f"{work:<52} {ours:9.4f} s   {ratios}   [{must}]", flush=True)


def graphs() -> None:
    faiss = importlib.import_module("faiss") if importlib.util.find_spec("faiss") else None
    for n, bits in SHAPES:
        keep = np.random.default_rng(0).random((n, bits), dtype=np.float32) < 0.5
        packed = pack(keep)
        fast = clock(lambda packed=packed: neighbours(packed, 128, "rows", engine="compiled"))
        slow = clock(lambda packed=packed: neighbours(packed, 128, "rows", engine="portable"), 1)
        brute = NearestNeighbors(n_neighbors=129, algorithm="brute", metric="hamming").fit(keep)
        sklearn = clock(lambda b=brute, k=keep: b.kneighbors(k[:SAMPLE]), 1) * n / SAMPLE
        others = {"scikit-learn brute (extrapolated)": sklearn}
        if faiss:
            faiss.omp_set_num_threads(1)
            others["faiss IndexBinaryFlat"] = clock(lambda p=packed: faiss_graph(faiss, p))
        line(
            f"graph of 128 neighbors, {n} x {bits} bits, compiled",
            fast,
            others,
            "must: faster than faiss; aim: 4x",
        )
        line(
            f"graph of 128 neighbors, {n} x {bits} bits, numpy",
            slow,
            {"scikit-learn": sklearn},
            "must: 20x scikit-learn",
        )
        one = clock(lambda p=packed: neighbours(p, 128, "rows", 5, engine="compiled"), 20)
        plain = clock(lambda p=packed: neighbours(p, 128, "rows", 5, engine="portable"), 20)
        loop = clock(lambda k=keep: original_query(torch.from_numpy(k.T.astype(np.float32)), 5), 1)
        line(f"one query of {n} x {bits} bits, compiled", one, {"the original's loop": loop}, "must: 300x")
        line(f"one query of {n} x {bits} bits, numpy", plain, {"the original's loop": loop}, "must: 300x")
        print(f"{'':<52} one query reads {packed.nbytes / one / 1e9:.0f} GB/s of packed bits")


def faiss_graph(faiss: types.ModuleType, packed) -> object:
    index = faiss.IndexBinaryFlat(packed.words.shape[1] * 64)
    index.add(packed.words.view(np.uint8))
    return index.search(packed.words.view(np.uint8), 129)


def original_query(weights: torch.Tensor, query: int) -> list[int]:
    """The original's way: masks as integers, one column after the other, sorted at the end."""
    mask = (weights != 0).int()
    distances = [(int((mask[:, query] != mask[:, j]).sum()), j) for j in range(mask.shape[1])]
    return [j for _, j in sorted(distances)[:128]]


def wanda_mask() -> None:
    weight, norms = torch.randn(4096, 11008), torch.rand(11008) + 0.5

    def sort_and_scatter() -> torch.Tensor:
        scores = weight.abs() * norms
        order = torch.sort(scores, dim=-1, stable=True)[1][:, : scores.shape[1] // 2]
        return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, order, True)

    assert torch.equal(row_mask(weight, norms, 0.5), sort_and_scatter())
    line(
        "Wanda mask, 4096 x 11008",
        clock(lambda: row_mask(weight, norms, 0.5)),
        {"sort and scatter": clock(sort_and_scatter, 1)},
        "must: 10x; aim: 40x",
    )


def sparsegpt() -> None:
    folder = os.environ.get("DIGSITE_SPARSEGPT")
    if not folder:
        print("SparseGPT 2048 x 2048: skipped, DIGSITE_SPARSEGPT names no copy of the reference")
        return
    reference = load_reference(Path(folder))
    weight, inputs = torch.randn(2048, 2048), torch.randn(4, 1024, 2048) * torch.exp(torch.randn(2048) * 0.5)

    def theirs() -> torch.Tensor:
        layer = torch.nn.Linear(2048, 2048, bias=False)
        layer.weight.data = weight.clone()
        worker = reference.SparseGPT(layer)
        for sequence in inputs:
            worker.add_batch(sequence[None], None)
        with Quiet():
            worker.fasterprune(0.5)
        return layer.weight.data

    def ours() -> torch.Tensor:
        return prune_matrix(weight, collect_inputs(inputs), "sparsegpt", 0.5, measure=False).weight

    assert torch.equal(ours() == 0, theirs() == 0), "the masks differ from the reference"
    line(
        "SparseGPT 2048 x 2048, 4096 tokens, same mask",
        clock(ours),
        {"reference": clock(theirs)},
        "must: 1x; aim: 1.5x",
    )


class Quiet:
    """The reference prints its time and loss."""

    def __enter__(self) -> None:
        self.out, sys.stdout = sys.stdout, Path(os.devnull).open("w")

    def __exit__(self, *_: object) -> None:
        sys.stdout.close()
        sys.stdout = self.out


def load_reference(folder: Path) -> types.ModuleType:
    """The reference's file, with its CUDA calls made harmless and without transformers."""
    torch.cuda.synchronize = lambda *_: None
    stub = types.ModuleType("transformers")
    stub.Conv1D = type("Conv1D", (torch.nn.Module,), {})  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules.setdefault("transformers", stub)
    sys.path.insert(0, str(folder))
    return importlib.import_module("sparsegpt")


def study() -> None:
    """The multi-seed study of one matrix, 10 seeds x 3 k, with 99 same-margins masks; without pictures on both sides."""
    weight = torch.randn(4096, 11008)
    norms = torch.from_numpy(np.random.default_rng(0).lognormal(0, 0.25, 11008).astype(np.float32))
    keep = ~row_mask(weight, norms, 0.5)
    packed, centers = pack(keep.numpy()), np.random.default_rng(1).integers(11008, size=10).tolist()

    def ours() -> None:
        features = orient_features(packed, "columns")
        measure_separations(features, centers, 128, [4, 8, 16], engine="compiled")
        for draw in Margins().draw_masks(ObservedMask(features, engine="compiled", trades=5), 99, 0):
            measure_separations(draw, centers, 128, [4, 8, 16], engine="compiled")

    original = clock(lambda: original_seed((weight * keep), centers[0]), 1) * 10
    line(
        "multi-seed study, 4096 x 11008, 99 nulls included",
        clock(ours, 1),
        {"the original's, re-enacted": original, "the original's logged 4 CPU-minutes": 240.0},
        "must: 20x",
    )


def original_seed(weights: torch.Tensor, center: int) -> None:
    """One seed: distances of all columns, three k-means on the weights, metrics pair by pair, each fitted three times."""
    mask = (weights != 0).int()
    distances = (mask != mask[:, center : center + 1]).float().mean(dim=0)
    members = distances.topk(128, largest=False).indices
    points, bits = weights[:, members].T.numpy(), mask[:, members]
    for k in (4, 8, 16):
        for _ in range(3):
            labels = KMeans(k, n_init=10, random_state=42).fit(points).labels_
        groups = [np.flatnonzero(labels == c) for c in range(k)]
        for group in groups:
            [
                float((bits[:, a] != bits[:, b]).float().mean())
                for i, a in enumerate(group)
                for b in group[i + 1 :]
            ]
        for i, one in enumerate(groups):
            for other in groups[i + 1 :]:
                pairs = [(a, b) for a in one for b in other][:50]
                [float((bits[:, a] != bits[:, b]).float().mean()) for a, b in pairs]


def curveball() -> None:
    """A mask with the same margins, every row traded five times."""
    packed = pack(np.random.default_rng(0).random((4096, 11008), dtype=np.float32) < 0.5)
    rng = np.random.default_rng(0)
    fast = clock(lambda: trade_margins(packed, 5, rng, "compiled"))
    line(
        "same-margins mask, 4096 x 11008, 5 trades a row",
        fast,
        {"numpy engine": clock(lambda: trade_margins(packed, 5, rng, "portable"), 1)},
        "the usual numpy way: 1.7 s",
    )


def memory() -> None:
    """A model four times larger than the memory it may use, under an address-space limit."""
    with tempfile.TemporaryDirectory() as root:
        size = big_model(Path(root) / "model")
        budget = size // 4
        for stream in (True, False):
            done = child(Path(root), budget, stream)
            how = "streamed" if stream else "whole (to see that the limit bites)"
            print(
                f"model of {size >> 20} MiB in {budget >> 20} MiB beyond the interpreter, {how}: {done}",
                flush=True,
            )


def big_model(
    folder: Path,
    n_layers: int = 24,
    d: int = 512,
    wide: int = 1408,
    vocab: int = 512,
    dtype: torch.dtype = torch.float32,
) -> int:
    folder.mkdir(parents=True)
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": d,
        "intermediate_size": wide,
        "num_hidden_layers": n_layers,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "vocab_size": vocab,
        "max_position_embeddings": 128,
        "tie_word_embeddings": True,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }
    (folder / "config.json").write_text(json.dumps(config))
    pieces = ["<unk>\t0", "<s>\t0", "</s>\t0", *(f"<0x{byte:02X}>\t0" for byte in range(256))]
    (folder / "tok.vocab").write_text("\n".join(pieces) + "\n")
    sizes = {
        "self_attn.q_proj": (d, d),
        "self_attn.k_proj": (d, d),
        "self_attn.v_proj": (d, d),
        "self_attn.o_proj": (d, d),
        "mlp.gate_proj": (wide, d),
        "mlp.up_proj": (wide, d),
        "mlp.down_proj": (d, wide),
    }
    total = 0
    for i in range(n_layers):
        layer = {
            f"model.layers.{i}.{name}.weight": (torch.randn(shape) * 0.02).to(dtype)
            for name, shape in sizes.items()
        }
        layer |= {
            f"model.layers.{i}.{name}.weight": torch.ones(d, dtype=dtype)
            for name in ("input_layernorm", "post_attention_layernorm")
        }
        save_file(layer, folder / f"model-{i:05d}.safetensors", {"format": "pt"})
        total += sum(t.nbytes for t in layer.values())
    embedding = (torch.randn(vocab, d) * 0.02).to(dtype)
    rest = {"model.embed_tokens.weight": embedding, "model.norm.weight": torch.ones(d, dtype=dtype)}
    save_file(rest, folder / "model-rest.safetensors", {"format": "pt"})
    files = {name: f"model-{i:05d}.safetensors" for i in range(n_layers) for name in _names(i, sizes)}
    files |= dict.fromkeys(rest, "model-rest.safetensors")
    atomic.write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": files})
    return total + sum(t.nbytes for t in rest.values())


def _names(i: int, sizes: dict) -> list[str]:
    return [
        f"model.layers.{i}.{name}.weight" for name in (*sizes, "input_layernorm", "post_attention_layernorm")
    ]


def child(root: Path, budget: int, stream: bool) -> str:
    words = [
        sys.executable,
        __file__,
        "--limited",
        str(root / "model"),
        str(root / f"out{stream}"),
        str(budget),
        str(int(stream)),
    ]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        env={**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "262144"},
    )
    last = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return (last or ["no output"])[-1][:150]


def limited(folder: str, out: str, budget: int, stream: bool) -> None:
    """In a process of its own: imports first, then the limit."""
    from transformers import AutoModelForCausalLM, LlamaForCausalLM  # noqa: F401

    from digsite.prune.api import PruneJob, prune_folder
    from digsite.prune.core.model import Recipe

    text = Path(folder) / "text.txt"
    text.write_text("Once upon a time there was a small dog. " * 40)
    # Libraries load more of themselves at their first use; that is not the model's memory.
    big_model(Path(out) / "warm", 2, 64, 96)
    prune_folder(
        PruneJob(
            str(Path(out) / "warm"), Path(out) / "warm-out", Recipe("wanda"), str(text), 4, 64, stream=stream
        )
    )
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + budget, used + budget))
    done = prune_folder(
        PruneJob(folder, Path(out) / "pruned", Recipe("wanda"), str(text), 4, 64, stream=stream)
    )
    print(
        f"completed, {len(done.ledger)} maps, mean sparsity {np.mean([one.sparsity for one in done.ledger]):.2f}"
    )


SEVEN = {"d": 4096, "wide": 11008, "vocab": 32000}  # Llama of 7 billion parameters, which has 32 layers
LAW_ROWS = 32  # windows of 128 tokens


def law() -> None:
    """What pruning 7 billion parameters from disk takes: one layer of its true size is measured, and there are 32 of them."""
    with tempfile.TemporaryDirectory() as root:
        taken = []
        for n_layers in (1, 2):
            folder = Path(root) / f"layers-{n_layers}"
            big_model(folder, n_layers, **SEVEN, dtype=torch.bfloat16)
            words = [sys.executable, __file__, "--streamed", str(folder)]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            taken.append([float(word) for word in done.stdout.split()[-2:]])
            shutil.rmtree(folder)
            print(
                f"{n_layers} of 32 layers, {LAW_ROWS * 128} tokens: {taken[-1][0]:.0f} CPU-s, {taken[-1][1]:.2f} GB",
                flush=True,
            )
        (first, small), (second, peak) = taken
        print(
            f"7B, streamed in bfloat16, Wanda: {second - first:.0f} CPU-s a layer, so {first + 31 * (second - first):.0f} for all; "
            f"{peak:.2f} GB with two layers on disk, {small:.2f} with one: memory does not grow with depth but by "
            f"{max(0.0, peak - small):.2f} GB a layer",
            flush=True,
        )


def streamed(folder: str) -> None:
    """In a process of its own, so that its peak is its own."""
    from digsite.prune.api import PruneJob, prune_folder
    from digsite.prune.core.model import Recipe

    text = Path(folder) / "text.txt"
    text.write_text("Once upon a time there was a small dog. " * (8 * LAW_ROWS))
    job = PruneJob(
        folder,
        Path(folder) / "pruned",
        Recipe("wanda"),
        str(text),
        LAW_ROWS,
        128,
        stream=True,
        precision="bfloat16",
    )
    prune_folder(job)
    print(process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)


SMOLLM2 = (  # one calibration set; settings of the small model, but for the rate
    *(
        "calibration.text=tinystories_v2",
        "calibration.sequences=48",
        "calibration.length=128",
        "windows=32",
        "draws=1",
    ),
    *("learning_rate=3e-4", "precision=bfloat16", 'levels=["50%", "2:4"]'),
    'methods=["wanda", "sparsegpt", "wanda+sub_block+block"]',
)


def quality() -> None:
    """What each method costs both TinyStories models, bits per byte with intervals, and what repairs win back on SmolLM2
    where DIGSITE_SMOLLM2 names it; an interrupted table is resumed."""
    tables = [("prune-quality", model, QUALITY) for model in ("stories260K", "tinystories_char_0.9M")]
    if named := os.environ.get("DIGSITE_SMOLLM2"):
        tables.append(("prune-repairs", named, SMOLLM2))
    else:
        print("SmolLM2: skipped, DIGSITE_SMOLLM2 names no copy of it (docs/prune.md says where there is one)")
    for study, model, settings in tables:
        root = RUNS / f"{study}-{Path(model).name}"
        begun = list(runs_in(root))
        words = ["resume", str(begun[0].path)] if begun else ["run", study, f"model={model}", *settings]
        if not begun or not begun[0].results.is_file():
            subprocess.run(
                [sys.executable, "-m", "digsite", *words, "--runs", str(root), "--quiet"], check=True
            )
        print_quality(model, next(runs_in(root)))


def print_quality(model: str, run: RunDir) -> None:
    table = pd.read_csv(run.tables / "quality.csv")
    table["shown"] = [
        f"{row.loss:.3f}" + ("" if np.isnan(row.low) else f" +- {row.high - row.loss:.3f}")
        for row in table.itertuples()
    ]
    results = read_results(run.results)
    assert results is not None
    dense = results["dense"]
    print(f"\n{model}: dense {dense.value:.4f} {dense.unit}, {dense.note}; +- is 95 % over calibration draws")
    print(table.pivot(index="method", columns="level", values="shown").to_string(), flush=True)
    print(f"perplexity at context {table['context'].iloc[0]}:")
    print(table.pivot(index="method", columns="level", values="perplexity").round(2).to_string(), flush=True)
    print(results.verdict)


def setting() -> None:
    """What the figures depend on."""
    names = ("torch", "numpy", "scipy", "scikit-learn", "numba", "faiss-cpu", "transformers")
    versions = [f"{name} {_version(name)}" for name in names]
    print(
        f"{torch.get_num_threads()} thread, {platform.machine()}, {os.cpu_count()} cores; {', '.join(versions)}",
        flush=True,
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the quality tables too")
    parser.add_argument("--only", nargs="*", default=[], help="only these sections")
    parser.add_argument("--limited", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--streamed", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.streamed:
        return streamed(arguments.streamed)
    if arguments.limited:
        folder, out, budget, stream = arguments.limited
        return limited(folder, out, int(budget), stream == "1")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    setting()
    compiled.measure_all(np.zeros((5, 1), np.uint64))  # compile outside of the clock
    sections = [graphs, curveball, wanda_mask, sparsegpt, study, memory] + (
        [law, quality] if arguments.full else []
    )
    for section in sections:
        if not arguments.only or section.__name__ in arguments.only:
            section()


if __name__ == "__main__":
    main()

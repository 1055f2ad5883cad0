"""Hugging Face folders of any architecture that transformers itself has; their own code is never run.

Nothing of a folder is ever run: no code that it brings, no pickle, no download. What transformers fills in
silently, random heads and missing weights, is refused here, since a number measured on it would be about
nothing.
"""

import importlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from digsite.base.errors import UsageError, name_nearest, one_sentence, require_package
from digsite.data.tokenizers import Tokenizer, load_tokenizer
from digsite.models.construct import without_memory
from digsite.weights import WeightBundle

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
CONTEXTS = ("max_position_embeddings", "n_positions", "max_target_positions", "n_ctx", "max_sequence_length")
DEFAULT_CONTEXT = 2048
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")
MANY_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)

Load = Callable[[Any, type], nn.Module]


class UnknownArchitecture(UsageError):
    """A folder names an architecture that transformers does not have; its weights can be read all the same."""


def read_config(folder: Path) -> Any:
    """The folder's config as transformers reads it; a model that brings its own code is refused here."""
    transformers = require_package("transformers", extra="hub")
    given = json.loads((folder / "config.json").read_text())
    kind = str(given.get("model_type", ""))
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES
    if kind not in known:
        code = sorted(path.name for path in folder.glob("*.py"))
        brings = (
            f" It brings its own code ({code[0]}), which is never run." if code or "auto_map" in given else ""
        )
        near = name_nearest(kind, known)
        near = f" (d{near[1:]})" if near.startswith("Did you mean") else ""
        raise UnknownArchitecture(
            f"The architecture '{kind}' of '{folder}' is not one that transformers {transformers.__version__} has{near}.{brings}"
        )
    with one_sentence(f"Reading the config of '{folder}'"):
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def model_class(config: Any, bundle: WeightBundle | None) -> type:
    """The class that the config names. Where it names none, the weights tell whether there is a language-model head.

    A head that the folder does not have is never added: it would be random.
    """
    transformers = require_package("transformers", extra="hub")
    for name in config.architectures or ():
        loaded = getattr(transformers, str(name), None)
        if isinstance(loaded, type) and issubclass(loaded, transformers.PreTrainedModel):
            return loaded  # any other name of the library is no network
    auto = transformers.models.auto.modeling_auto
    names = list(bundle.tensors) if bundle is not None else []
    has_head = any("lm_head" in name for name in [*names, *(bundle.tied if bundle is not None else ())])
    causal = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    if causal and (has_head or getattr(config, "tie_word_embeddings", False)):
        return getattr(transformers, causal)
    plain = auto.MODEL_MAPPING_NAMES.get(config.model_type)
    if not plain:
        raise UsageError(f"The config of a '{config.model_type}' does not name its architecture.")
    return getattr(transformers, plain if isinstance(plain, str) else plain[0])


def build_module(folder: Path, bundle: WeightBundle) -> tuple[nn.Module, str]:
    """The module in float32 with every weight from the folder, and a sentence on weights it has no use for.

    transformers fills what a checkpoint lacks with random numbers; such a checkpoint is refused.
    """
    config = read_config(folder)
    made = model_class(config, bundle)
    _reject_quantized(config, folder)
    with one_sentence(f"Opening '{folder}' as a {made.__name__}"):
        _refuse_larger(folder, config, made, bundle)
        loaded: tuple[nn.Module, dict[str, Any]] = made.from_pretrained(  # pyright: ignore[reportAttributeAccessIssue]
            folder,
            config=config,
            local_files_only=True,
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=None,
        )
    module, info = loaded
    refuse_incomplete(folder, module, info)
    return module.eval(), say_unused(info.get("unexpected_keys", ()), bundle)


SMALL = 1_000_000  # numbers that any library may add
MOST = 2  # times what the files hold: a network that needs more is another one, and its library would make all of it up


def _refuse_larger(folder: Path, config: Any, made: Any, bundle: WeightBundle) -> None:
    """Before anything is allocated: a config without sizes, or of another architecture, asks for the library's own sizes.

    `{"model_type": "llama"}` above a GPT-2 of 150 kB once took 16 GB, and ten million layers all the time there was.
    """
    if not isinstance(config, made.config_class or object):
        raise UsageError(
            f"The config of '{folder}' says that it is a '{config.model_type}', and names a {made.__name__}, which is "
            f"another architecture."
        )
    layers = getattr(config, "num_hidden_layers", 1)
    if not isinstance(layers, int) or not 0 <= layers <= len(
        bundle.tensors
    ):  # one needs a tensor at the least
        raise UsageError(
            f"The config of '{folder}' says that it has {layers} layers, and its files hold {len(bundle.tensors)} tensors."
        )
    with without_memory():
        needed = sum(parameter.numel() for parameter in made(deepcopy(config)).parameters())
    held = sum(_count_numbers(bundle.shape(name)) for name in bundle.tensors)
    if needed > MOST * held + SMALL:
        raise UsageError(
            f"'{folder}' is incomplete: a {made.__name__} of its config has {needed:,} numbers, and its files hold {held:,}.",
            hint="Loading it anyway would fill them with random numbers; get the whole checkpoint, with its own config.",
        )


def refuse_incomplete(folder: Path, module: nn.Module, info: dict[str, Any]) -> None:
    """`info` is what transformers reports of its loading: keys that were missing or had other shapes were
    filled with random numbers.
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    missing = sorted(key for key in info.get("missing_keys", ()) if key in parameters)
    wrong = sorted(
        str(mismatch[0] if isinstance(mismatch, tuple) else mismatch)
        for mismatch in info.get("mismatched_keys", ())
    )
    for names, what in ((missing, "lacks"), (wrong, "has other shapes for")):
        if names:
            raise UsageError(
                f"'{folder}' is incomplete: it {what} {len(names)} of the {len(parameters)} tensors of a "
                f"{type(module).__name__}, first '{names[0]}'.",
                hint="Loading it anyway would fill them with random numbers; get the whole checkpoint.",
            )


def _reject_quantized(config: Any, folder: Path) -> None:
    """Quantized modules need kernels of their own, and reading their numbers as weights would give noise."""
    given = getattr(config, "quantization_config", None)
    if given:
        method = given.get("quant_method", "unknown") if isinstance(given, dict) else type(given).__name__
        raise UsageError(
            f"'{folder}' is quantized ({method}), and its modules need kernels that are not here.",
            hint="Its weights can be read; to run it, save it dequantized.",
        )


def say_unused(names: Iterable[str], bundle: WeightBundle) -> str:
    """How much of the checkpoint the network has no place for, as a share of its numbers; empty where all is
    used. `names` are those that it asked for nothing of.
    """
    unused = [key for key in names if key in bundle.tensors]
    if not unused:
        return ""
    sizes = {name: _count_numbers(bundle.shape(name)) for name in bundle.tensors}
    share = sum(sizes[name] for name in unused) / max(sum(sizes.values()), 1)
    return (
        f"not used by the network: {len(unused)} tensors, {share:.1%} of the numbers, first '{min(unused)}'"
    )


def _count_numbers(shape: tuple[int, ...]) -> int:
    """The product of the sides."""
    n = 1
    for side in shape:
        n *= side
    return n


def read_tokenizer(folder: Path) -> Any:
    """The folder's tokenizer, or None where it has none."""
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        return None
    transformers = require_package("transformers", extra="hub")
    with one_sentence(f"Reading the tokenizer of '{folder}'"):
        return transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )


def read_processor(folder: Path) -> dict[str, Any]:
    """What the folder says about its images or sounds."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return {}
    with one_sentence(f"Reading '{path}'"):
        settings = json.loads(path.read_text())
    return settings if isinstance(settings, dict) else {}


def kind_of(module: Any) -> str:
    """How a module of transformers is fed, from its main input and its config."""
    main, config = getattr(module, "main_input_name", "input_ids"), module.config
    if main == "pixel_values":
        return "images"
    if main in ("input_features", "input_values"):
        return "sound"
    if getattr(config, "is_encoder_decoder", False):
        return "encoder-decoder"
    name = type(module).__name__
    if name.endswith("ForMaskedLM") or name.endswith("ForPreTraining"):
        return "masked"
    transformers = require_package("transformers", extra="hub")
    causal = set(transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    return "causal" if name in causal else "encoder"


def context_of(config: Any) -> int:
    """Most tokens of a sequence, where the config says."""
    for source in (config, getattr(config, "text_config", None)):
        for name in CONTEXTS:
            value = getattr(source, name, None)
            if isinstance(value, int) and 0 < value < 2**31:
                return value
    return DEFAULT_CONTEXT


# What other people's libraries print while they open or run a model stays with them.

__all__ = ["one_sentence", "quiet_libraries"]


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Warnings, progress bars and load reports of transformers are held back; errors are exceptions anyway."""
    import sys

    logging = sys.modules.get("transformers.utils.logging")
    level = logging.get_verbosity() if logging else 0
    bars = bool(logging and logging.is_progress_bar_enabled())
    if logging:
        logging.set_verbosity(logging.CRITICAL)
        logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if logging:
            logging.set_verbosity(level)
            logging.enable_progress_bar() if bars else None


# Tokenizers that lie beside weights in our own and llama2.c's formats.


def tokenizer_inside(bundle: WeightBundle, path: Path) -> tuple[Any, str]:
    """The tokenizer that a GGUF file carries in its header, which has been read within bounds before; or None, and why."""
    if not bundle.meta.get("has_tokenizer") or not path.is_file() or not find_spec("transformers"):
        return None, ""
    import transformers

    try:
        with quiet_libraries(), one_sentence(f"Reading the tokenizer of '{path}'"):
            # What `AutoTokenizer` does with a GGUF, which asks for a package more although it reads none of the weights.
            gguf = importlib.import_module("transformers.integrations.gguf.gguf_tokenizer_mapping")
            architecture, pieces, words = gguf.get_gguf_tokenizer(str(path))
            backend, _ = gguf.convert_gguf_tokenizer(architecture, pieces)
            special = {name: words[name] for name in SPECIAL_TOKENS if words.get(name)}
            return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **special), ""
    except UsageError as error:  # its weights are good without
        return None, error.message


def tokenizer_beside(path: Path) -> Tokenizer | None:
    """The tokenizer file in the folder of a model; our `.vocab` table before the others."""
    folder = path if path.is_dir() else path.parent
    files = [p for p in sorted(folder.glob("tok*")) if p.suffix in (".bin", ".model", ".vocab")]
    preferred = [p for p in files if p.suffix == ".vocab"] or files
    return load_tokenizer(preferred[0]) if preferred else None

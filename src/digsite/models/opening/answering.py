"""Any opened module as a function from one tensor to one tensor, for methods that ask for nothing more."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from digsite.base.errors import UsageError

MAIN = ("logits", "last_hidden_state", "pooler_output", "image_embeds", "text_embeds")
PLAIN = "digsite_plain_forward"

Fed = tuple[tuple[Tensor, ...], dict[str, Tensor]]  # what a forward is given, by place and by name


def main_output(output: Any) -> Tensor:
    """The main tensor of what a forward pass gives: logits where there are any, else hidden states, else the first.

    `output` is a tensor, a mapping, a dataclass of transformers or a tuple. Integer tensors are passed over:
    they are ids, not answers.
    """
    if isinstance(output, Tensor):
        return output
    values = output if isinstance(output, Mapping) else getattr(output, "__dict__", {})
    for name in MAIN:
        if isinstance(values.get(name), Tensor):
            return values[name]
    listed = list(values.values()) if values else list(output) if isinstance(output, tuple | list) else []
    tensors = [value for value in listed if isinstance(value, Tensor) and value.is_floating_point()]
    if not tensors:
        raise UsageError(f"The model gives a {type(output).__name__}, which holds no tensor of numbers.")
    return tensors[0]


def answer_one_input(module: Any, opened: Any) -> nn.Module:
    """The same module, whose forward now takes its main input alone and gives its main output.

    Called by name it is what it was. An encoder-decoder is given one row for both sides: its halves. The names of its parts stay what they are, so
    patterns over modules and saved states fit. Modules of the user's own are returned as they are.

    `module` is changed in place and given back; `opened` (Opened) says how it is fed. The forward is replaced on the
    object, not on its class, so another model of the same class is untouched, and `answer_for_a_while` can take
    it off again.
    """
    if (
        opened.is_own
        or not hasattr(module, "config")
        or PLAIN in vars(module)
        or not hasattr(module, "main_input_name")
    ):
        return module
    feed = _feed_both_sides if opened.has_decoder else _feed_sound if opened.takes_sound else _feed_plainly
    cached = _takes_cache(module) and not opened.takes_images
    module.__dict__[PLAIN] = (module.forward, _use_plain_attention(module))
    module.forward = partial(_answer_one_input, feed, start_token(module), cached, module.forward)
    return module


@contextmanager
def answer_for_a_while(opened: Any) -> Iterator[nn.Module]:
    """`answering` for as long as it is needed; the user's module is then what it was."""
    module = opened.need_module("be run")
    was_plain = PLAIN not in vars(module)
    try:
        yield answer_one_input(module, opened)
    finally:
        if was_plain and PLAIN in vars(module):
            _, before = module.__dict__.pop(PLAIN)
            del module.__dict__["forward"]
            for config, implementation in before:
                config._attn_implementation = implementation


@contextmanager
def fed_by_rows(module: nn.Module, batch: Mapping[str, Tensor]) -> Iterator[Tensor]:
    """Several named inputs as one: for a while the module is called with numbers of rows of `batch`, which are given."""
    own = vars(module).get("forward")
    module.forward = partial(
        _answer_rows, module.forward, batch
    )  # a copy of the module answers with its own parts
    try:
        yield torch.arange(len(next(iter(batch.values()))))
    finally:
        del module.forward
        if own is not None:
            module.forward = own


def _answer_rows(original: Callable[..., Any], batch: Mapping[str, Tensor], rows: Tensor) -> Tensor:
    return main_output(original(**{name: value[rows] for name, value in batch.items()}))


def _use_plain_attention(module: nn.Module) -> list[tuple[Any, str]]:
    """Fused attention has no rule for stacked members: torch would take them one by one and warn each time."""
    # What else has no rule (routing counts) is taken one by one too; that it is slower is no news for a reader.
    torch._C._functorch._set_vmap_fallback_warning_enabled(False)  # pyright: ignore[reportAttributeAccessIssue]
    known: list[Any] = [getattr(m, "config", None) for m in module.modules()]
    configs = {id(config): config for config in known if getattr(config, "_attn_implementation", None)}
    before = [(config, config._attn_implementation) for config in configs.values()]
    for config, _ in before:
        config._attn_implementation = "eager"
    return before


def _takes_cache(module: Any) -> bool:
    """Caches of keys and values are for writing on and on; here a forward pass is read once, and a cache would
    only hold memory.
    """
    return "use_cache" in signature(module.forward).parameters or hasattr(module.config, "use_cache")


def _answer_one_input(
    feed: Callable[[Tensor, int], Fed],
    start: int,
    cached: bool,
    original: Callable[..., Any],
    *args: Any,
    **named: Any,
) -> Any:
    """The new forward: its one argument is token ids (n, tokens), pixels (n, channels, height, width) or features."""
    if named or len(args) != 1:  # called by name, as its library calls it
        return original(*args, **named)
    first, more = feed(args[0], start)
    extra = {"use_cache": False} if cached else {}
    return main_output(original(*first, **more, **extra))


def _feed_plainly(x: Tensor, start: int) -> Fed:
    return (x,), {}


def _feed_both_sides(x: Tensor, start: int) -> Fed:
    """The first half of a row to the encoder, the second, one place later, to the decoder."""
    half = x.shape[1] // 2
    first = torch.full((len(x), 1), start, dtype=x.dtype, device=x.device)
    decoder = torch.cat([first, x[:, half:-1]], dim=1)
    return (), {"input_ids": x[:, :half], "decoder_input_ids": decoder}


def _feed_sound(x: Tensor, start: int) -> Fed:
    ids = torch.full((len(x), 1), start, dtype=torch.long, device=x.device)
    return (x,), {"decoder_input_ids": ids}


def start_token(module: Any) -> int:
    """What a decoder begins with, by the names under which configs of different families say it; 0 where none
    does.
    """
    for name in ("decoder_start_token_id", "bos_token_id", "pad_token_id"):
        value = getattr(module.config, name, None)
        if isinstance(value, int):
            return value
    return 0

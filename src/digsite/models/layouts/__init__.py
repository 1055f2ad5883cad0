"""A network of ours from tensors in any checkpoint layout that is understood.

A layout translates names, and where it must the order of rows or the direction of a map; it never guesses. What
no tensor shows (the number of heads, which way attention looks) comes from metadata, from a file beside, or is
refused by name.
"""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from digsite.base import families
from digsite.base.errors import DigsiteError, one_sentence
from digsite.config import Config
from digsite.models.architectures.language import Gpt2, Llama
from digsite.models.construct import empty, without_memory
from digsite.weights import WeightBundle
from digsite.weights.bundle import empty_tensors

LAYOUTS = "digsite.models.layouts"
UNKNOWN_USE = "Name your own module with py:module:factory, or save the model with digsite.models.save_model."


class Layout(ABC):
    """Names, shapes and metadata by which a checkpoint is known; the first that fits, by name, is taken.

    `AS_STORED` says that its tensors have the names and the shapes of the network's own, so that each can be read alone.
    """

    AS_STORED = False

    @staticmethod
    @abstractmethod
    def fits_tensors(bundle: WeightBundle) -> bool:
        """Whether these names and shapes are of this layout; no tensor is read for it."""
        ...

    @staticmethod
    @abstractmethod
    def translate_bundle(bundle: WeightBundle) -> tuple[Config, dict[str, Tensor]]:
        """The config of our network, and its state dict in our names.

        Tensors are handed on as they lie in the file wherever that is possible: a memory-mapped checkpoint
        stays on disk until a weight is used.
        """
        ...


Member = Layout


def assemble_module(bundle: WeightBundle) -> nn.Module | None:
    """The network of the first layout that knows these tensors, in evaluation mode; None where none does.

    `bundle` holds tensors by name, and what its file said beside them.
    """
    for layout in families.scan_family(LAYOUTS).values():
        if layout.fits_tensors(bundle):
            with one_sentence(f"Building the network that the config of '{_place_of(bundle)}' describes"):
                return fill_module(*layout.translate_bundle(bundle)).eval()
    return None


def assemble_hollow(bundle: WeightBundle) -> nn.Module | None:
    """The same network without its numbers, for whoever brings each when it is used; None where the layout that fits
    renames or turns what the file holds, or the names are not one to one.
    """
    fitting = (member for member in families.scan_family(LAYOUTS).values() if member.fits_tensors(bundle))
    layout = next(fitting, None)
    if layout is None or not layout.AS_STORED:
        return None
    config, _ = layout.translate_bundle(WeightBundle(empty_tensors(bundle.tensors), bundle.meta, bundle.tied))
    with without_memory():
        model = empty(config).eval()
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    return model if shapes == {name: bundle.shape(name) for name in bundle.tensors} else None


def _place_of(bundle: WeightBundle) -> object:
    return bundle.meta.get("path", "this model")


def say_unknown_use(bundle: WeightBundle) -> str:
    """Why tensors alone are no network."""
    names = ", ".join(list(bundle.tensors)[:3])
    return f"The weights of '{_place_of(bundle)}' ({names}, ...) do not say how they are used."


def fill_module(config: Config, state: dict[str, Tensor]) -> nn.Module:
    """A module that takes over the given tensors; they are not copied.

    The module is made on the meta device first, where tensors have shapes and no memory: a network of several
    gigabytes is never allocated twice. Tied weights are tied again afterwards, because assigning separates
    them.
    """
    with without_memory():
        model = empty(config)
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        problems = " ".join(str(error).split("\n\t")[1:3]).strip()
        raise DigsiteError(
            f"The tensors do not fit a {getattr(config, 'kind', 'model')}: {problems}"
        ) from None
    # `assign` puts one tensor in each place, so tied maps are two parameters until they are made one again.
    if isinstance(model, Llama) and model.config.tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    if isinstance(model, Gpt2) and model.config.tied:
        model.lm_head.weight = model.transformer.wte.weight
    return model

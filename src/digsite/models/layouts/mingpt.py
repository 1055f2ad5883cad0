"""minGPT checkpoints: GPT-2's names, weights (out, in), the sizes in the metadata."""

from torch import Tensor

from digsite.models.configs.gpt2 import Gpt2Config
from digsite.weights import WeightBundle


def matches(bundle: WeightBundle) -> bool:
    return (
        "transformer.wte.weight" in bundle.tensors and "n_head" in bundle.meta and "config" not in bundle.meta
    )


def translate(bundle: WeightBundle) -> tuple[Gpt2Config, dict[str, Tensor]]:
    vocab, width = bundle.shape("transformer.wte.weight")
    config = Gpt2Config.model_validate(
        {
            "vocab": vocab,
            "context": bundle.shape("transformer.wpe.weight")[0],
            "d_model": width,
            "n_layers": sum(name.endswith("ln_2.weight") for name in bundle.tensors),
            "n_heads": int(bundle.meta["n_head"]),
            "tied": "lm_head.weight" not in bundle.tensors,
        }
    )
    return config, bundle.state_dict()

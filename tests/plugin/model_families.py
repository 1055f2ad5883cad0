"""Tiny networks of every family that people bring, with random weights, made by their own library."""

from pathlib import Path
from typing import Any

import torch

SMALL = {"vocab_size": 300, "max_position_embeddings": 32}
LLAMA = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
FAMILIES = (
    "gpt2",
    "llama",
    "vit",
    "bert",
    "t5",
    "whisper",
    "qwen2",
    "gemma2",
    "mixtral",
    "mamba",
    "gpt_neox",
    "opt",
)
CLASSES = {
    "gpt2": "GPT2LMHeadModel",
    "llama": "LlamaForCausalLM",
    "vit": "ViTForImageClassification",
    "bert": "BertModel",
    "t5": "T5ForConditionalGeneration",
    "whisper": "WhisperForConditionalGeneration",
    "qwen2": "Qwen2ForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "mamba": "MambaForCausalLM",
    "gpt_neox": "GPTNeoXForCausalLM",
    "opt": "OPTForCausalLM",
}
# A map of every layer that a decomposition can be tried on.
PATTERNS = {
    "gpt2": "*.c_fc",
    "llama": "*.up_proj",
    "vit": "*.mlp.fc1",
    "bert": "*.intermediate.dense",
    "t5": "encoder*.wi",
    "whisper": "*encoder*fc1",
    "qwen2": "*.up_proj",
    "gemma2": "*.up_proj",
    "mixtral": "*.q_proj",
    "mamba": "*.in_proj",
    "gpt_neox": "*dense_h_to_4h",
    "opt": "*.fc1",
}
N_MAPS = {
    "gpt2": 8,
    "llama": 14,
    "vit": 12,
    "bert": 12,
    "t5": 32,
    "whisper": 32,
    "qwen2": 14,
    "gemma2": 14,
    "mixtral": 24,
    "mamba": 8,
    "gpt_neox": 8,
    "opt": 12,
}


def config_of(family: str, transformers: Any) -> Any:
    """The configuration of a tiny member."""
    two_heads = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    made = {
        "gpt2": (
            "GPT2Config",
            {
                "vocab_size": 300,
                "n_positions": 32,
                "n_embd": 32,
                "n_layer": 2,
                "n_head": 2,
                "bos_token_id": 1,
                "eos_token_id": 2,
            },
        ),
        "llama": ("LlamaConfig", {**SMALL, **LLAMA, "num_key_value_heads": 2}),
        "vit": ("ViTConfig", {"image_size": 16, "patch_size": 4, **two_heads, "num_labels": 7}),
        "bert": ("BertConfig", {**SMALL, **two_heads}),
        "t5": (
            "T5Config",
            {
                "vocab_size": 300,
                "d_model": 32,
                "d_kv": 8,
                "d_ff": 48,
                "num_layers": 2,
                "num_heads": 4,
                "decoder_start_token_id": 0,
            },
        ),
        "whisper": (
            "WhisperConfig",
            {
                "vocab_size": 300,
                "num_mel_bins": 20,
                "d_model": 32,
                "encoder_layers": 2,
                "decoder_layers": 2,
                "encoder_attention_heads": 2,
                "decoder_attention_heads": 2,
                "encoder_ffn_dim": 48,
                "decoder_ffn_dim": 48,
                "max_source_positions": 24,
                "max_target_positions": 16,
                "decoder_start_token_id": 1,
                **ids,
            },
        ),
        "qwen2": ("Qwen2Config", {**SMALL, **LLAMA, "num_key_value_heads": 2}),
        "gemma2": (
            "Gemma2Config",
            {**SMALL, **LLAMA, "num_key_value_heads": 2, "head_dim": 8, "tie_word_embeddings": True},
        ),
        "mixtral": ("MixtralConfig", {**SMALL, **LLAMA, "num_key_value_heads": 2, "num_local_experts": 4}),
        "mamba": (
            "MambaConfig",
            {
                "vocab_size": 300,
                "hidden_size": 32,
                "state_size": 4,
                "num_hidden_layers": 2,
                "time_step_rank": 4,
                **ids,
            },
        ),
        "gpt_neox": ("GPTNeoXConfig", {**SMALL, **LLAMA}),
        "opt": (
            "OPTConfig",
            {
                **SMALL,
                "hidden_size": 32,
                "ffn_dim": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "word_embed_proj_dim": 32,
                "pad_token_id": 1,
            },
        ),
    }
    name, settings = made[family]
    return getattr(transformers, name)(**settings)


def make_module(family: str, transformers: Any, seed: int = 0) -> Any:
    """A module with random weights."""
    torch.manual_seed(seed)
    return getattr(transformers, CLASSES[family])(config_of(family, transformers)).eval()


def write_family(folder: Path, family: str, transformers: Any, dtype: torch.dtype = torch.float32) -> Path:
    """A folder as its library saves it, with a tokenizer of bytes for what reads text."""
    make_module(family, transformers).to(dtype).save_pretrained(folder)
    if family not in ("vit", "whisper"):
        byte_tokenizer(transformers).save_pretrained(folder)
    return folder


def byte_tokenizer(transformers: Any) -> Any:
    """One id for each byte, and the usual special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "[MASK]": 3}
    for character in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[character] = len(vocabulary)
    inner = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>", mask_token="[MASK]"
    )


def batch_of(family: str, n: int = 4) -> dict[str, torch.Tensor]:
    """Random inputs by name, as the family's library takes them."""
    draw = torch.Generator().manual_seed(0)
    if family == "vit":
        return {"pixel_values": torch.randn(n, 3, 16, 16, generator=draw)}
    ids = torch.randint(4, 300, (n, 12), generator=draw)
    if family == "whisper":
        return {"input_features": torch.randn(n, 20, 48, generator=draw), "decoder_input_ids": ids[:, :4]}
    if family == "t5":
        return {"input_ids": ids, "decoder_input_ids": ids[:, :5]}
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

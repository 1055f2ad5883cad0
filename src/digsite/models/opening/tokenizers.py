"""Tokenizers that lie beside weights in our own and llama2.c's formats."""

from pathlib import Path

from digsite.data.tokenizers import Tokenizer, load_tokenizer


def tokenizer_beside(path: Path) -> Tokenizer | None:
    """The tokenizer file in the folder of a model; our `.vocab` table before the others."""
    folder = path if path.is_dir() else path.parent
    found = [p for p in sorted(folder.glob("tok*")) if p.suffix in (".bin", ".model", ".vocab")]
    preferred = [p for p in found if p.suffix == ".vocab"] or found
    return load_tokenizer(preferred[0]) if preferred else None
